import type { ServiceBroker } from "moleculer";
import { call, type Params, type Result } from "../../../contracts/actions.ts";
import type { Caller, Ctx } from "../../../contracts/meta.ts";
import type { Quote } from "../../../contracts/partners.ts";
import type { Clock } from "../../../lib/clock.ts";
import { shortenLine } from "../../../lib/text.ts";
import { callerOf } from "../../../mixins/caller/caller.ts";
import type { RoutableParams } from "./contract.ts";

const MAX_NAME_LENGTH = 200;
/** A confirmation may be repeated for as long as an Idempotency-Key is stored. */
const CONFIRMED_TTL_SECONDS = 86_400;
/** Quotes in the memory of this process while the shared cache is down. */
const MAX_LOCAL_QUOTES = 2_000;

type Confirmation = Result<"orders.confirm">;

/**
 * The quotes that customers may confirm. They are stored in the broker's cacher, which all gateways share. While the
 * cacher is down, the gateway that made a quote stores it in its memory.
 */
export interface QuoteStore {
  /** Stores the quote until it expires. */
  save(customerId: string, quote: Quote): Promise<void>;
  /** Stores a confirmed quote for longer, so that a repeated confirmation gets the same answer from Orders. */
  extend(customerId: string, quote: Quote): Promise<void>;
  /** Undefined if the quote has expired, does not exist or cannot be read now. */
  find(customerId: string, checkId: string): Promise<Quote | undefined>;
}

export function quoteStore(broker: ServiceBroker, clock: Clock): QuoteStore {
  const localQuotes = new Map<string, { quote: Quote; untilMs: number }>();
  const keyOf = (customerId: string, checkId: string) => `check:${customerId}:${checkId}`;
  /** @returns whether the quote is in the shared cache */
  const store = async (customerId: string, quote: Quote, seconds: number): Promise<boolean> => {
    const stored = broker.cacher?.set(keyOf(customerId, quote.checkId), quote, seconds) as Promise<unknown>;
    return await stored.then(
      (answer) => answer !== undefined,
      () => false,
    );
  };
  return {
    async save(customerId, quote) {
      const seconds = Math.floor((Date.parse(quote.expiresAt) - clock.now()) / 1000);
      if (seconds <= 0 || (await store(customerId, quote, seconds))) return;
      localQuotes.set(keyOf(customerId, quote.checkId), { quote, untilMs: clock.now() + seconds * 1000 });
      for (const [oldest, { untilMs }] of localQuotes) {
        if (localQuotes.size <= MAX_LOCAL_QUOTES && untilMs > clock.now()) break;
        localQuotes.delete(oldest);
      }
    },
    async extend(customerId, quote) {
      // If this fails, a repeat is answered from the order itself.
      await store(customerId, quote, CONFIRMED_TTL_SECONDS);
    },
    async find(customerId, checkId) {
      const key = keyOf(customerId, checkId);
      const found = await broker.cacher?.get(key).catch(() => undefined);
      if (found) return found as unknown as Quote;
      const local = localQuotes.get(key);
      return local && local.untilMs > clock.now() ? local.quote : undefined;
    },
  };
}

/** Has Partners check the cart, and stores the quote for a confirmation. */
export async function check(quotes: QuoteStore, ctx: Ctx<Params<"partners.check">>): Promise<Quote> {
  const customer = callerOf(ctx, "customer");
  const quote = await call(ctx, "partners.check", ctx.params);
  await quotes.save(customer.id, quote);
  return quote;
}

/**
 * Turns a stored quote into an order. Orders and Partners decide about prices and stock; the stored quote only saves a
 * second calculation.
 * @throws CHECK_EXPIRED, and every error of `orders.confirm`
 */
export async function confirm(
  quotes: QuoteStore,
  ctx: Ctx<RoutableParams<"api.confirm">>,
): Promise<Confirmation> {
  const caller = callerOf(ctx, "customer");
  const { checkId, bankId } = ctx.params;
  const quote = await quotes.find(caller.id, checkId);
  // The quote may be lost after an earlier confirmation. Its order then has the id of the check.
  if (!quote) return await call(ctx, "orders.reopenCheckout", { orderId: checkId, bankId });
  const customer = await customerOf(ctx, caller);
  const confirmation = await call(ctx, "orders.confirm", { bankId, quote, customer });
  await quotes.extend(caller.id, quote);
  return confirmation;
}

async function customerOf(ctx: Ctx<unknown>, { id }: Caller): Promise<Params<"orders.confirm">["customer"]> {
  const { firstName, lastName, phone } = await call(ctx, "identity.profile", {});
  const name = shortenLine(`${firstName} ${lastName}`.trim(), MAX_NAME_LENGTH);
  return { id, name, ...(phone && { phone }) };
}
