import { ApiError } from "@waybill/client";
import { demoClient } from "./client.ts";
import { DemoError, type DemoPlaces } from "./pages.ts";
import { assign, browse, check, confirm, deliver, lookBack, pay, prepare, register } from "./steps.ts";
import { terminal } from "./terminal.ts";

/**
 * Takes a new customer's order from sign-up to the door.
 * @returns whether it was delivered; the screen says what stopped it otherwise
 */
export async function demo(places: DemoPlaces): Promise<boolean> {
  const startedMs = performance.now();
  const screen = terminal();
  screen.title(`Waybill at ${places.apiUrl}: an order from sign-up to the door`);
  const story = { client: demoClient(places, screen), terminal: screen };
  try {
    const customer = await register(story);
    const checkId = await check(story, await browse(story));
    const order = await confirm(story, checkId);
    await pay(story, order.order_id, order.checkout_url);
    await prepare(story, order.order_id);
    await assign(story, order.order_id, customer.phone);
    await deliver(story, order.order_id);
    await lookBack(story, order.order_id, customer.id);
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
