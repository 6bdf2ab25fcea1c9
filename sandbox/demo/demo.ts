import { ApiError } from "../../client/src/index.ts";
import { demoClient } from "./client.ts";
import { DemoError, requireRunning } from "./pages.ts";
import { findPlatform } from "./places.ts";
import { assign, browse, check, confirm, deliver, lookBack, pay, prepare, register } from "./steps.ts";
import { terminal } from "./terminal.ts";

/** Takes a new customer's order from sign-up to the door, on a platform that runs beside it. */
async function main(): Promise<void> {
  const startedMs = performance.now();
  const places = findPlatform(process.env);
  const screen = terminal();
  await requireRunning("Waybill", places.apiUrl, "demo");
  await requireRunning("The sandbox", places.sandboxUrl, "demo");
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

main().catch((error: Error) => {
  console.error(error instanceof DemoError ? `${error.message}.` : `The demo broke: ${error.message}`);
  process.exit(1);
});
