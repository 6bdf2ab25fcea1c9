import { createHash } from "node:crypto";
import { call, type Params } from "../../../contracts/actions.ts";
import { entryOf, fail, typeOf } from "../../../contracts/errors.ts";
import type { Ctx } from "../../../contracts/meta.ts";
import { partnerCallback } from "../../../contracts/partners.ts";
import { type Infer, object, optional, text, time, uuid } from "../../../contracts/schema.ts";
import { checkOf } from "../../../contracts/validation.ts";
import { isoTime } from "../../../lib/clock.ts";
import { parseForeignJson } from "../../../lib/json.ts";
import type { EndpointDeps } from "../dependencies.ts";
import { findEndpoint } from "../store/webhook-endpoint.repository.ts";
import { secretsOf } from "../store/webhook-secrets.ts";
import { genuineId, newSecret } from "../store/webhook-signature.ts";

const ORDERS_TIMEOUT_MS = 700;

/** What a partner's system sends, in the names of the wire. */
const callbackBody = object({
  id: optional(text(200)),
  type: partnerCallback.props.type,
  timestamp: optional(time),
  data: object({ order_id: uuid, reason: optional(text(500)), ready_at: optional(time) }),
});
type CallbackBody = Infer<typeof callbackBody>;
const wrongFields = checkOf(callbackBody);

/** Verified against where there is no partner, so that it takes as long as where there is one. */
const NOBODYS_SECRET = newSecret();

/**
 * Verifies the callback of a partner's system and has Orders commit it, before anybody is told that it arrived.
 * @throws BAD_SIGNATURE alike for whatever makes it not genuine, BAD_JSON and VALIDATION_ERROR for a genuine one
 * that says nothing, what Orders refuses it for, SERVICE_UNAVAILABLE when Orders cannot say
 */
export async function receiveCallback(
  { postgres, keys, clock }: EndpointDeps,
  ctx: Ctx<Params<"partners.receiveCallback">>,
): Promise<Record<string, never>> {
  const { partnerId, headers, body } = ctx.params;
  const nowMs = clock.now();
  const endpoint = await findEndpoint(postgres.db, partnerId);
  const known = endpoint ? secretsOf(endpoint, keys, partnerId, nowMs) : [];
  const id = genuineId(headers, body, known.length > 0 ? known : [NOBODYS_SECRET], nowMs);
  if (id === undefined || known.length === 0) throw fail("BAD_SIGNATURE");
  const { type, timestamp, data } = read(body);
  const saidAt = timestamp ?? isoTime(Number(headers["webhook-timestamp"]) * 1_000);
  const bodyHash = createHash("sha256").update(body).digest("hex");
  await tellOrders(ctx, {
    ...{ partnerId, eventId: id, bodyHash, type, orderId: data.order_id, saidAt },
    ...(data.reason !== undefined && { reason: data.reason }),
    ...(data.ready_at !== undefined && { readyAt: data.ready_at }),
  });
  return {};
}

function read(body: string): CallbackBody {
  let parsed: unknown;
  try {
    parsed = parseForeignJson(body);
  } catch {
    throw fail("BAD_JSON");
  }
  const errors = wrongFields(parsed);
  if (errors.length > 0) throw fail("VALIDATION_ERROR", undefined, { errors });
  return parsed as CallbackBody;
}

/** Orders' refusals are the partner's to know; anything else means only that it should ask again. */
async function tellOrders(ctx: Ctx<unknown>, callback: Params<"orders.applyPartnerCallback">): Promise<void> {
  try {
    // Not repeated here either: the partner's system repeats.
    const options = { timeout: ORDERS_TIMEOUT_MS, retries: 0 };
    await call(ctx, "orders.applyPartnerCallback", callback, options);
  } catch (error) {
    const entry = entryOf(typeOf(error) ?? "");
    if (entry && entry.status < 500) throw error;
    throw fail("SERVICE_UNAVAILABLE", "The order cannot be reached now.");
  }
}
