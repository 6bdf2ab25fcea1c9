import { call, type Params, type Result } from "../../../contracts/actions.ts";
import { fail } from "../../../contracts/errors.ts";
import type { Ctx } from "../../../contracts/meta.ts";
import type { Quote } from "../../../contracts/partners.ts";
import { omitUndefined } from "../../../lib/omit-undefined.ts";
import { shortenLine } from "../../../lib/text.ts";
import { currentTraceparent } from "../../../lib/tracing/index.ts";
import { callerOf } from "../../../mixins/caller/caller.ts";
import { commitWithMessages } from "../../../mixins/outbox/commit-with-messages.ts";
import { idempotentLeased } from "../../../mixins/postgres/idempotency.ts";
import { partOfRequestTimeout } from "../../../mixins/retry-deadline/request-timeout.ts";
import type { Checkout, CheckoutLine } from "../../../providers/banks/index.ts";
import type { OrdersDependencies, RegisteredBank } from "../dependencies.ts";
import { confirm } from "../domain/order-customer.ts";
import type { Actor, Decision, Order } from "../domain/order-model.ts";
import { numberCandidates } from "../domain/order-number.ts";
import {
  findOrder,
  insertOrder,
  NUMBER_KEY,
  type NumberForOrder,
  nowAndNumber,
  savingCheckoutUrl,
} from "../store/orders.repository.ts";
import { actorInTrace } from "../use-cases/order-trace.ts";

/** The time limit of a confirmation in this service. The gateway's own limit for a request is longer. */
const TIMEOUT_MS = 1_300;
const UNIQUE_VIOLATION = "23505";
const RESERVE_TIMEOUT_MS = 700;
const CHECKOUT_TIMEOUT_MIN_MS = 300;
const DESCRIPTION_MAX_LENGTH = 200;
/** The number of attempts to insert an order whose number a concurrent confirmation takes. */
const NUMBER_ATTEMPTS = 3;

type Confirmation = Result<"orders.confirm">;
type ConfirmContext = Ctx<Params<"orders.confirm">>;

/**
 * Creates the order of a check and opens the bank's checkout. Every step is idempotent: the check determines the order,
 * and the order determines the reservation and the checkout. After a crash between two steps, the customer's next
 * attempt completes the confirmation.
 */
export async function confirmOrder(deps: OrdersDependencies, ctx: ConfirmContext): Promise<Confirmation> {
  const { bankId, quote, customer } = ctx.params;
  if (customer.id !== callerOf(ctx, "customer").id) {
    throw fail("FORBIDDEN", "An order is confirmed by its own customer.");
  }
  const candidates = numberCandidates(quote.checkId);
  const findNumber = () => nowAndNumber(deps.postgres.db, quote.partner.id, candidates, quote.checkId);
  let started: NumberForOrder | undefined;
  return answerConfirmation(deps, ctx, quote.checkId, bankId, {
    async isKnown() {
      started = await findNumber();
      return started.isKnown;
    },
    create: async (bank) => createOrder(deps, ctx, bank, started ?? (await findNumber()), findNumber),
  });
}

/**
 * Repeats a confirmation whose check is lost, as after a crash of the gateway that stored it: the order of the check is
 * enough to open its checkout. The Idempotency-Key is that of the confirmation.
 * @throws CHECK_EXPIRED if the check has no order, or its order can no longer be paid; CHECK_USED, BANK_UNAVAILABLE
 */
export async function reopenCheckout(
  deps: OrdersDependencies,
  ctx: Ctx<Params<"orders.reopenCheckout">>,
): Promise<Confirmation> {
  const { orderId, bankId } = ctx.params;
  return answerConfirmation(deps, ctx, orderId, bankId);
}

/**
 * Finds the order of a check or creates it, and opens its checkout unless it is open already.
 * @param creation `create` returns undefined if a concurrent confirmation created the order. Absent: the order must exist
 */
async function answerConfirmation(
  deps: OrdersDependencies,
  ctx: Ctx<unknown>,
  checkId: string,
  bankId: string,
  creation?: {
    isKnown: () => Promise<boolean>;
    create: (bank: RegisteredBank | undefined) => Promise<Order | undefined>;
  },
): Promise<Confirmation> {
  const deadlineMs = Date.now() + partOfRequestTimeout(ctx.broker, TIMEOUT_MS);
  const customerId = callerOf(ctx, "customer").id;
  const callbackUrl = `${deps.publicUrl}/api/v1/webhooks/payments/${bankId}`;
  const findExisting = () => findConfirmedOrder(deps, customerId, checkId, bankId);

  return idempotentLeased<Confirmation>(deps.postgres, ctx, "orders.confirm", async (finish) => {
    const isNew = creation && !(await creation.isKnown());
    const [bank, existing] = await Promise.all([deps.banks.find(bankId), isNew ? undefined : findExisting()]);
    if (!existing && !creation) throw fail("CHECK_EXPIRED", "Make a new check.");

    const answer = async () => {
      const order = existing ?? (await creation?.create(bank)) ?? (await findExisting());
      // The id belongs to the order of another customer, which must stay unknown.
      if (!order) throw fail("NOT_FOUND", "There is no such check.");
      const timeoutMs = Math.max(CHECKOUT_TIMEOUT_MIN_MS, deadlineMs - Date.now());
      const { checkoutUrl, reference }: Checkout = order.checkoutUrl
        ? { checkoutUrl: order.checkoutUrl }
        : await openCheckout(deps, ctx, order, bank, callbackUrl, timeoutMs);
      const { id: orderId, number, status, payBy } = order;
      return finish(
        deps.postgres.db,
        omitUndefined({ orderId, number, status, checkoutUrl, callbackUrl, payBy }),
        order.checkoutUrl ? undefined : savingCheckoutUrl(orderId, checkoutUrl, reference),
      );
    };
    return existing?.checkoutUrl ? answer() : deps.checkouts.run(bankId, answer);
  });
}

/** The order of a check, which has the check's id. @throws CHECK_USED if it was confirmed with another bank */
async function findConfirmedOrder(
  { postgres }: OrdersDependencies,
  customerId: string,
  checkId: string,
  bankId: string,
): Promise<Order | undefined> {
  const found = await findOrder(postgres.db, checkId, { role: "customer", id: customerId });
  if (found && found.order.bankId !== bankId) throw fail("CHECK_USED");
  return found?.order;
}

/**
 * Reserves the lines and saves the order.
 * @returns undefined if there is an order with this id already
 * @throws BANK_INACTIVE, CHECK_EXPIRED, and the errors of partners.reserve
 */
async function createOrder(
  deps: OrdersDependencies,
  ctx: ConfirmContext,
  bank: RegisteredBank | undefined,
  started: NumberForOrder,
  findNumber: () => Promise<NumberForOrder>,
): Promise<Order | undefined> {
  const { bankId, quote, customer } = ctx.params;
  if (!bank?.active) throw fail("BANK_INACTIVE");
  const actor: Actor = actorInTrace("customer", customer.id);
  const decide = (partner: Quote["partner"], number = started.number) =>
    confirm({ ...quote, partner }, customer, bankId, actor, started.nowMs, number);
  const expected = decide(quote.partner).next; // throws before anything is reserved
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
    { timeout: partOfRequestTimeout(ctx.broker, RESERVE_TIMEOUT_MS), retries: 0 },
  );
  const save = async (decision: Decision) => {
    const isNew = await commitWithMessages(deps.outbox, decision.messages, (rows) =>
      insertOrder(deps.postgres.db, decision, rows, currentTraceparent()),
    );
    return isNew ? decision.next : undefined;
  };
  let { number } = started;
  for (let attempt = 1; ; attempt++) {
    try {
      return await save(decide(partner, number));
    } catch (error) {
      if (attempt === NUMBER_ATTEMPTS || !isNumberTaken(error)) throw error;
      ({ number } = await findNumber());
    }
  }
}

function isNumberTaken(error: unknown): boolean {
  const { code, constraint } = error as { code?: string; constraint?: string };
  return code === UNIQUE_VIOLATION && constraint === NUMBER_KEY;
}

/** @throws BANK_UNAVAILABLE; the order stays pending, and a repeat tries again */
async function openCheckout(
  deps: OrdersDependencies,
  ctx: Ctx<unknown>,
  order: Order,
  bank: RegisteredBank | undefined,
  callbackUrl: string,
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
      callbackUrl,
      description: descriptionOf(order),
      lines: linesOf(order),
      payBy: order.payBy,
      timeoutMs,
    };
    return await deps.checkouts.call(bank.id, () => connected.openCheckout(request));
  } catch (error) {
    ctx.broker.logger.warn(`bank ${order.bankId}: no checkout for order ${order.id}:`, String(error));
    throw fail("BANK_UNAVAILABLE", "The bank opens no checkout now. Try again.");
  }
}

/** The description on the bank's page, as "Café: 2 × Flat White, Croissant". */
function descriptionOf({ partner, lines }: Order): string {
  const items = lines.map(({ title, quantity }) => (quantity > 1 ? `${quantity} × ${title}` : title));
  return shortenLine(`${partner.title}: ${items.join(", ")}`, DESCRIPTION_MAX_LENGTH);
}

/** The lines of the checkout. Their sum is the order's total. */
function linesOf({ lines, feeMinor }: Order): CheckoutLine[] {
  const items = lines.map(({ title, quantity, unitPrice }) => ({
    title,
    quantity,
    unitAmountMinor: unitPrice.amountMinor,
  }));
  return feeMinor > 0 ? [...items, { title: "Delivery", quantity: 1, unitAmountMinor: feeMinor }] : items;
}
