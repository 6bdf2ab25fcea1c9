import { ApiError } from "../../client/src/index.ts";
import { DemoError, demoClient } from "./client.ts";
import { findPlatform } from "./places.ts";
import { assign, browse, check, confirm, deliver, lookBack, pay, prepare, register } from "./steps.ts";
import { terminal } from "./terminal.ts";

const PROBE_TIMEOUT_MS = 2_000;

/** Takes a new customer's order from sign-up to the door, on a platform that runs beside it. */
async function main(): Promise<void> {
  const startedMs = performance.now();
  const places = findPlatform(process.env);
  const screen = terminal();
  await requireRunning(places.apiUrl, "Waybill");
  await requireRunning(places.sandboxUrl, "The sandbox");
  screen.title(`Waybill at ${places.apiUrl}: an order from sign-up to the door`);
  const demo = { client: demoClient(places, screen), terminal: screen };
  try {
    const customer = await register(demo);
    const checkId = await check(demo, await browse(demo));
    const order = await confirm(demo, checkId);
    await pay(demo, order.order_id, order.checkout_url);
    await prepare(demo, order.order_id);
    await assign(demo, order.order_id, customer.phone);
    await deliver(demo, order.order_id);
    await lookBack(demo, order.order_id, customer.id);
    screen.done(
      `Delivered: order ${order.order_id} in ${((performance.now() - startedMs) / 1000).toFixed(1)} s.`,
    );
    screen.note(`Mailbox, phones, kitchens and courier: ${places.sandboxUrl}/`);
  } catch (error) {
    if (!(error instanceof ApiError || error instanceof DemoError)) throw error;
    screen.failed(`${error.message}.`);
    screen.note(`What the others saw: ${places.sandboxUrl}/ (mailbox, phones, kitchens, courier)`);
    process.exitCode = 1;
  }
}

async function requireRunning(url: string, name: string): Promise<void> {
  try {
    await fetch(`${url}/`, { signal: AbortSignal.timeout(PROBE_TIMEOUT_MS) });
  } catch {
    console.error(
      `${name} does not answer at ${url}: run npm start in another terminal, then npm run demo again.`,
    );
    process.exit(1);
  }
}

main().catch((error) => {
  console.error(`The demo broke: ${(error as Error).message}`);
  process.exit(1);
});
