import { createHash } from "node:crypto";
import { call, type Params } from "../../../contracts/actions.ts";
import { entryOf, fail, typeOf } from "../../../contracts/errors.ts";
import type { Ctx } from "../../../contracts/meta.ts";
import type { Infer } from "../../../contracts/schema.ts";
import { validatorOf } from "../../../contracts/validation.ts";
import { partnerCallbackBody } from "../../../contracts/webhooks.ts";
import { isoTime } from "../../../lib/clock.ts";
import { parseForeignJson } from "../../../lib/json.ts";
import { newSecret, verifiedMessageId } from "../../../lib/webhook-signature.ts";
import { partOfRequestTimeout } from "../../../mixins/retry-deadline/request-timeout.ts";
import type { PartnersDependencies } from "../dependencies.ts";
import { findEndpoint } from "../store/webhook-endpoint.repository.ts";
import { validSecrets } from "../use-cases/webhook-secrets.ts";

const ORDERS_TIMEOUT_MS = 1_300;

type CallbackBody = Infer<typeof partnerCallbackBody>;
const checkBody = validatorOf(partnerCallbackBody);

/** Used for an unknown partner, so that the verification takes equally long and timing does not reveal whether it exists. */
const DUMMY_SECRET = newSecret();

/**
 * Verifies the callback of a partner's system and returns after Orders has committed it.
 * @throws BAD_SIGNATURE for every failed verification, BAD_JSON and VALIDATION_ERROR for a verified but invalid body,
 * any 4xx error of Orders, SERVICE_UNAVAILABLE when Orders is not reachable
 */
export async function receiveCallback(
  { postgres, keys, clock }: PartnersDependencies,
  ctx: Ctx<Params<"partners.receiveCallback">>,
): Promise<Record<string, never>> {
  const { partnerId, headers, body } = ctx.params;
  const nowMs = clock.now();
  const endpoint = await findEndpoint(postgres.db, partnerId);
  const known = endpoint ? validSecrets(endpoint, keys, partnerId, nowMs) : [];
  const id = verifiedMessageId(headers, body, known.length > 0 ? known : [DUMMY_SECRET], nowMs);
  if (id === undefined || known.length === 0) throw fail("BAD_SIGNATURE");
  const { type, timestamp, data } = parseBody(body);
  const saidAt = timestamp ?? isoTime(Number(headers["webhook-timestamp"]) * 1_000);
  const bodyHash = createHash("sha256").update(body).digest("hex");
  await forwardToOrders(ctx, {
    ...{ partnerId, eventId: id, bodyHash, type, orderId: data.order_id, saidAt },
    ...(data.reason !== undefined && { reason: data.reason }),
    ...(data.ready_at !== undefined && { readyAt: data.ready_at }),
  });
  return {};
}

function parseBody(body: string): CallbackBody {
  let parsed: unknown;
  try {
    parsed = parseForeignJson(body);
  } catch {
    throw fail("BAD_JSON");
  }
  const errors = checkBody(parsed);
  if (errors.length > 0) throw fail("VALIDATION_ERROR", undefined, { errors });
  return parsed as CallbackBody;
}

/** Passes 4xx errors of Orders on to the partner's system. Any other error becomes SERVICE_UNAVAILABLE, so that it retries. */
async function forwardToOrders(
  ctx: Ctx<unknown>,
  callback: Params<"orders.applyPartnerCallback">,
): Promise<void> {
  try {
    // No retry here: the partner's system retries.
    const options = { timeout: partOfRequestTimeout(ctx.broker, ORDERS_TIMEOUT_MS), retries: 0 };
    await call(ctx, "orders.applyPartnerCallback", callback, options);
  } catch (error) {
    const entry = entryOf(typeOf(error) ?? "");
    if (entry && entry.status < 500) throw error;
    throw fail("SERVICE_UNAVAILABLE", "The order cannot be reached now.");
  }
}
