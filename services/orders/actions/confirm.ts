import { call, type Params, type Result } from "../../../contracts/actions.ts";
import { fail } from "../../../contracts/errors.ts";
import type { Caller, Ctx } from "../../../contracts/meta.ts";
import type { Quote } from "../../../contracts/partners.ts";
import { shortenLine } from "../../../lib/text.ts";
import { currentTraceparent } from "../../../lib/tracing/index.ts";
import { callerOf } from "../../../mixins/caller/caller.ts";
import { type Finish, idempotentLeased } from "../../../mixins/postgres/idempotency.ts";
import type { Checkout, CheckoutLine } from "../../../providers/banks/index.ts";
import type { OpenedBank, OrdersDependencies } from "../dependencies.ts";
import { confirm } from "../domain/order-customer.ts";
import type { Actor, Order } from "../domain/order-model.ts";
import { acting } from "../store/order-trace.ts";
import { databaseNowMs, findOrder, insertOrder, saveCheckoutUrl } from "../store/orders.repository.ts";

/** The service's own budget; the caller waits 1.4 s. */
const BUDGET_MS = 1_300;
const RESERVE_TIMEOUT_MS = 700;
const CHECKOUT_TIMEOUT_MIN_MS = 300;
const DESCRIPTION_LENGTH = 200;

type Confirmation = Result<"orders.confirm">;
type Confirm = Ctx<Params<"orders.confirm">>;

/**
 * Makes the order of a check and opens the bank's checkout. Every step bears a repeat: the reservation and the
 * checkout are the same for the same order, and the order is the same for the same check. So a crash between any
 * two of them is healed by the customer's next try.
 */
export async function confirmOrder(deps: OrdersDependencies, ctx: Confirm): Promise<Confirmation> {
  const startedMs = Date.now();
  const caller = callerOf(ctx, "customer");
  const { bankId, quote, customer } = ctx.params;
  if (customer.id !== caller.id) throw fail("FORBIDDEN", "An order is confirmed by its own customer.");
  return idempotentLeased(deps.postgres, ctx, "orders.confirm", async (finish) => {
    const [bank, known] = await Promise.all([
      deps.banks.find(deps.postgres.db, bankId),
      confirmedBefore(deps, caller, quote.checkId, bankId),
    ]);
    const make = async () =>
      checkoutOf(deps, ctx, known ?? (await makeOrder(deps, ctx, bank)), bank, startedMs, finish);
    return known?.checkoutUrl ? make() : deps.checkouts.run(bankId, make);
  });
}

/**
 * The repeat of a confirmation whose check is gone, as after a crash of the gateway that kept it: the order that the
 * check became is enough to open its checkout. An Idempotency-Key is the one of the confirmation.
 * @throws CHECK_EXPIRED when the check became no order, or one that can no longer be paid; CHECK_USED, BANK_UNAVAILABLE
 */
export async function reopenCheckout(
  deps: OrdersDependencies,
  ctx: Ctx<Params<"orders.reopenCheckout">>,
): Promise<Confirmation> {
  const startedMs = Date.now();
  const caller = callerOf(ctx, "customer");
  const { orderId, bankId } = ctx.params;
  return idempotentLeased(deps.postgres, ctx, "orders.confirm", async (finish) => {
    const [bank, known] = await Promise.all([
      deps.banks.find(deps.postgres.db, bankId),
      confirmedBefore(deps, caller, orderId, bankId),
    ]);
    if (!known) throw fail("CHECK_EXPIRED", "Make a new check.");
    const open = () => checkoutOf(deps, ctx, known, bank, startedMs, finish);
    return known.checkoutUrl ? open() : deps.checkouts.run(bankId, open);
  });
}

/** The answer to a confirmation: the order's checkout, opened unless it was before. */
async function checkoutOf(
  deps: OrdersDependencies,
  ctx: Ctx<unknown>,
  order: Order,
  bank: OpenedBank | undefined,
  startedMs: number,
  finish: Finish<Confirmation>,
): Promise<Confirmation> {
  const timeoutMs = Math.max(CHECKOUT_TIMEOUT_MIN_MS, BUDGET_MS - (Date.now() - startedMs));
  const checkout: Checkout = order.checkoutUrl
    ? { checkoutUrl: order.checkoutUrl }
    : await openCheckout(deps, ctx, order, bank, timeoutMs);
  const answer = {
    orderId: order.id,
    status: order.status,
    checkoutUrl: checkout.checkoutUrl,
    callbackUrl: callbackUrl(deps, order.bankId),
    payBy: order.payBy,
  };
  return deps.postgres.transact(async (trx) => {
    const { checkoutUrl, reference } = checkout;
    if (!order.checkoutUrl) await saveCheckoutUrl(trx, order.id, checkoutUrl, reference);
    return finish(trx, answer);
  });
}

/** The order of a check, which has the check's id. @throws CHECK_USED when it is at another bank */
async function confirmedBefore(
  { postgres }: OrdersDependencies,
  caller: Caller,
  checkId: string,
  bankId: string,
): Promise<Order | undefined> {
  const found = await findOrder(postgres.db, checkId, { role: "customer", id: caller.id });
  if (found && found.order.bankId !== bankId) throw fail("CHECK_USED");
  return found?.order;
}

/** Reserves the lines and saves the order. @throws BANK_INACTIVE, CHECK_EXPIRED, and what partners.reserve throws */
async function makeOrder(
  deps: OrdersDependencies,
  ctx: Confirm,
  bank: OpenedBank | undefined,
): Promise<Order> {
  const { postgres, outbox } = deps;
  const { bankId, quote, customer } = ctx.params;
  if (!bank?.active) throw fail("BANK_INACTIVE");
  const actor: Actor = acting("customer", customer.id);
  const nowMs = await databaseNowMs(postgres.db);
  const decide = (partner: Quote["partner"]) =>
    confirm({ ...quote, partner }, customer, bankId, actor, nowMs);
  const expected = decide(quote.partner).next; // refuses before anything is reserved
  const partner = await call(
    ctx,
    "partners.reserve",
    {
      orderId: expected.id,
      partnerId: quote.partner.id,
      lines: quote.lines,
      fee: quote.fee,
      expiresAt: expected.payBy,
    },
    { timeout: RESERVE_TIMEOUT_MS, retries: 0 },
  );
  const decision = decide(partner);
  const made = await postgres.transact(async (trx) => {
    if (!(await insertOrder(trx, decision, currentTraceparent()))) return undefined;
    await outbox.add(trx, decision.messages);
    return decision.next;
  });
  // Somebody was faster: the same customer with the same check, or else it is nobody's business here.
  const order = made ?? (await confirmedBefore(deps, callerOf(ctx), quote.checkId, bankId));
  if (!order) throw fail("NOT_FOUND", "There is no such check.");
  return order;
}

/** @throws BANK_UNAVAILABLE; the order stays pending, and a repeat tries again */
async function openCheckout(
  deps: OrdersDependencies,
  ctx: Ctx<unknown>,
  order: Order,
  bank: OpenedBank | undefined,
  timeoutMs: number,
): Promise<Checkout> {
  if (order.status !== "pending") throw fail("CHECK_EXPIRED", `The order of this check is ${order.status}.`);
  try {
    if (!bank) throw new Error("the bank is not registered");
    const connected = bank.connect();
    const request = {
      orderId: order.id,
      amount: { amountMinor: order.totalMinor, currency: order.currency },
      idempotencyKey: order.id,
      callbackUrl: callbackUrl(deps, bank.id),
      description: descriptionOf(order),
      lines: linesOf(order),
      payBy: order.payBy,
      timeoutMs,
    };
    return await deps.checkouts.ask(bank.id, () => connected.openCheckout(request));
  } catch (error) {
    ctx.broker.logger.warn(`bank ${order.bankId}: no checkout for ${order.id}:`, String(error));
    throw fail("BANK_UNAVAILABLE", "The bank opens no checkout now. Try again.");
  }
}

/** What the customer reads on the bank's page: "Café: 2 × Flat White, Croissant". */
function descriptionOf({ partner, lines }: Order): string {
  const items = lines.map(({ title, quantity }) => (quantity > 1 ? `${quantity} × ${title}` : title));
  return shortenLine(`${partner.title}: ${items.join(", ")}`, DESCRIPTION_LENGTH);
}

/** What is paid for, one by one; they add up to the total. */
function linesOf({ lines, feeMinor }: Order): CheckoutLine[] {
  const items = lines.map(({ title, quantity, unitPrice }) => ({
    title,
    quantity,
    unitAmountMinor: unitPrice.amountMinor,
  }));
  return feeMinor > 0 ? [...items, { title: "Delivery", quantity: 1, unitAmountMinor: feeMinor }] : items;
}

function callbackUrl({ publicUrl }: OrdersDependencies, bankId: string): string {
  return `${publicUrl}/api/v1/webhooks/payments/${bankId}`;
}
