import type { ServiceBroker } from "moleculer";
import { call, type Params, type Result } from "../../../contracts/actions.ts";
import type { Caller, Ctx } from "../../../contracts/meta.ts";
import type { Quote } from "../../../contracts/partners.ts";
import type { Clock } from "../../../lib/clock.ts";
import { shortenLine } from "../../../lib/text.ts";
import { callerOf } from "../../../mixins/caller/caller.ts";
import type { RoutableParams } from "./contract.ts";

const MAX_NAME_LENGTH = 200;
/** As long as an Idempotency-Key is kept: so long a confirmation may be repeated. */
const CONFIRMED_KEPT_SECONDS = 86_400;
/** Of those that could not be kept where all gateways find them. */
const MAX_KEPT_HERE = 2_000;

type Confirmation = Result<"orders.confirm">;

/**
 * The checks that customers may confirm. They live in the broker's cacher, which all gateways share; while that
 * is away, a check is kept by the gateway that made it.
 */
export interface Checks {
  keep(customerId: string, quote: Quote): Promise<void>;
  /** Keeps a confirmed check for its repeats, which Orders answers like the first time. */
  keepConfirmed(customerId: string, quote: Quote): Promise<void>;
  /** Undefined for what has expired, was never there or cannot be read now. */
  find(customerId: string, checkId: string): Promise<Quote | undefined>;
}

export function checksIn(broker: ServiceBroker, clock: Clock): Checks {
  const keptHere = new Map<string, { quote: Quote; untilMs: number }>();
  const keyOf = (customerId: string, checkId: string) => `check:${customerId}:${checkId}`;
  /** @returns whether every gateway finds it now */
  const keepFor = async (customerId: string, quote: Quote, seconds: number): Promise<boolean> => {
    const kept = broker.cacher?.set(keyOf(customerId, quote.checkId), quote, seconds) as Promise<unknown>;
    return await kept.then(
      (answer) => answer !== undefined,
      () => false,
    );
  };
  return {
    async keep(customerId, quote) {
      const seconds = Math.floor((Date.parse(quote.expiresAt) - clock.now()) / 1000);
      if (seconds <= 0 || (await keepFor(customerId, quote, seconds))) return;
      keptHere.set(keyOf(customerId, quote.checkId), { quote, untilMs: clock.now() + seconds * 1000 });
      for (const [oldest, { untilMs }] of keptHere) {
        if (keptHere.size <= MAX_KEPT_HERE && untilMs > clock.now()) break;
        keptHere.delete(oldest);
      }
    },
    async keepConfirmed(customerId, quote) {
      // One that is lost is answered from its order.
      await keepFor(customerId, quote, CONFIRMED_KEPT_SECONDS);
    },
    async find(customerId, checkId) {
      const key = keyOf(customerId, checkId);
      const found = await broker.cacher?.get(key).catch(() => undefined);
      if (found) return found as unknown as Quote;
      const here = keptHere.get(key);
      return here && here.untilMs > clock.now() ? here.quote : undefined;
    },
  };
}

export async function check(checks: Checks, ctx: Ctx<Params<"partners.check">>): Promise<Quote> {
  const customer = callerOf(ctx, "customer");
  const quote = await call(ctx, "partners.check", ctx.params);
  await checks.keep(customer.id, quote);
  return quote;
}

/**
 * Orders what was checked. The kept check spares the catalogue's work; prices and stock are Orders' and
 * Partners' last word.
 * @throws CHECK_EXPIRED, and what Orders refuses
 */
export async function confirm(
  checks: Checks,
  ctx: Ctx<RoutableParams<"api.confirm">>,
): Promise<Confirmation> {
  const caller = callerOf(ctx, "customer");
  const { checkId, bankId } = ctx.params;
  const quote = await checks.find(caller.id, checkId);
  // A check that was lost may have become an order before, which has the check's id.
  if (!quote) return await call(ctx, "orders.reopenCheckout", { orderId: checkId, bankId });
  const customer = await customerOf(ctx, caller);
  const confirmation = await call(ctx, "orders.confirm", { bankId, quote, customer });
  await checks.keepConfirmed(caller.id, quote);
  return confirmation;
}

async function customerOf(ctx: Ctx<unknown>, { id }: Caller): Promise<Params<"orders.confirm">["customer"]> {
  const { firstName, lastName, phone } = await call(ctx, "identity.profile", {});
  const name = shortenLine(`${firstName} ${lastName}`.trim(), MAX_NAME_LENGTH);
  return { id, name, ...(phone && { phone }) };
}
