import { ApiError } from "@waybill/client";
import { demoClient } from "./client.ts";
import { DemoError, type DemoPlaces } from "./pages.ts";
import { assign, browse, check, confirm, deliver, lookBack, pay, prepare, register } from "./steps.ts";
import { terminal } from "./terminal.ts";

/**
 * Runs one order of a new customer from sign-up to delivery.
 * @returns whether the order was delivered; otherwise the terminal shows the error
 */
export async function demo(places: DemoPlaces): Promise<boolean> {
  const startedMs = performance.now();
  const screen = terminal();
  screen.title(`Waybill at ${places.apiUrl}: an order from sign-up to the door`);
  const run = { client: demoClient(places, screen), terminal: screen };
  try {
    const customer = await register(run);
    const checkId = await check(run, await browse(run));
    const order = await confirm(run, checkId);
    await pay(run, order.order_id, order.checkout_url);
    await prepare(run, order.order_id);
    await assign(run, order.order_id, customer.phone);
    await deliver(run, order.order_id);
    await lookBack(run, order.order_id, customer.id);
    screen.done(
      `Delivered: order ${order.order_id} in ${((performance.now() - startedMs) / 1000).toFixed(1)} s.`,
    );
    screen.note(`Mailbox, phones, kitchens and courier: ${places.sandboxUrl}/`);
    return true;
  } catch (error) {
    if (!(error instanceof ApiError || error instanceof DemoError)) throw error;
    screen.failed(`${error.message}.`);
    screen.note(`What the others saw: ${places.sandboxUrl}/ (mailbox, phones, kitchens, courier)`);
    return false;
  }
}
