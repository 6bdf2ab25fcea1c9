import type { Knex } from "knex";
import type { Params, Result } from "../../../contracts/actions.ts";
import { fail } from "../../../contracts/errors.ts";
import type { Ctx } from "../../../contracts/meta.ts";
import type { WebhookDelivery, WebhookEndpoint } from "../../../contracts/partners.ts";
import { isoTime } from "../../../lib/clock.ts";
import { newId } from "../../../lib/ids.ts";
import { audit } from "../../../mixins/outbox/audit.ts";
import { idempotent } from "../../../mixins/postgres/idempotency.ts";
import type { EndpointDeps, PartnersDependencies, Sender } from "../dependencies.ts";
import { testBody } from "../domain/webhook-events.ts";
import { announced } from "../store/announce-partner.ts";
import { afterOf, pageOf } from "../store/pages.ts";
import {
  addTry,
  findDelivery,
  insertWebhook,
  type LockedWebhook,
  listDeliveries,
  lockWebhookOf,
  makeDue,
  makeWaitingDue,
} from "../store/webhook-deliveries.repository.ts";
import {
  type EndpointRow,
  findEndpoint,
  lockEndpoint,
  type OldSecret,
  saveEndpoint,
  saveSecrets,
} from "../store/webhook-endpoint.repository.ts";
import { openSecret, sealSecret, validOldSecrets } from "../store/webhook-secrets.ts";
import { newSecret } from "../store/webhook-signature.ts";
import { adminOf, managerOf, noSuchPartner } from "./access.ts";
import { refuseBadUrl } from "./webhook-url.ts";

/** The database keeps no more tries of one message. */
const TRIES_MAX = 1_000;
const PREVIOUS_SECRET_VALID_MS = 86_400_000;
/** Each valid secret costs every call a signature. */
const OLD_SECRETS_MAX = 4;
const DEFAULT_PAGE_SIZE = 20;

export async function getWebhook(
  { postgres, clock }: EndpointDeps,
  ctx: Ctx<Params<"partners.getWebhook">>,
): Promise<WebhookEndpoint> {
  managerOf(ctx);
  const { partnerId } = ctx.params;
  const endpoint = await findEndpoint(postgres.db, partnerId);
  if (!endpoint) throw noSuchPartner();
  return endpointView(partnerId, endpoint, clock.now());
}

/**
 * Sets where the partner's system is told of orders. The first time the answer holds the secret.
 * @throws VALIDATION_ERROR for a URL that we would not call
 */
export async function setWebhook(
  deps: EndpointDeps & { sender: Pick<Sender, "wakeAfter"> },
  ctx: Ctx<Params<"partners.setWebhook">>,
): Promise<WebhookEndpoint> {
  adminOf(ctx);
  const { partnerId, url, enabled } = ctx.params;
  refuseBadUrl(deps.guard, "url", url);
  return await deps.postgres.transact(async (trx) => {
    const before = await lockEndpoint(trx, partnerId);
    if (!before) throw noSuchPartner();
    await announced(deps, trx, await saveEndpoint(trx, partnerId, url, enabled));
    await audit(deps.outbox, trx, ctx, partnerId, enabled ? "enabled" : "disabled");
    if (enabled) {
      await makeWaitingDue(trx, partnerId);
      deps.sender.wakeAfter(trx);
    }
    const secret = before.webhookSecret === undefined ? newSecret() : undefined;
    if (secret) await saveSecrets(trx, partnerId, { secret: sealSecret(secret, deps.keys, partnerId) });
    const { webhookGoneAt: _gone, ...known } = before;
    const after = { ...known, apiUrl: url, webhookEnabled: enabled };
    return { ...endpointView(partnerId, after, deps.clock.now()), ...(secret && { secret }) };
  });
}

/**
 * A new secret, shown in the answer alone and, with the same Idempotency-Key, in that of each repeat. Every secret before
 * it still signs and verifies until its day is over.
 * @throws TOO_MANY_REQUESTS while as many secrets are valid as may be
 */
export async function rotateSecret(
  { postgres, keys, clock, outbox }: EndpointDeps,
  ctx: Ctx<Params<"partners.rotateWebhookSecret">>,
): Promise<WebhookEndpoint> {
  adminOf(ctx);
  const { partnerId } = ctx.params;
  const nowMs = clock.now();
  // The answer that is kept for repeats holds the encrypted secret only.
  const kept = await idempotent(postgres, ctx, "partners.rotateWebhookSecret", async (trx) => {
    const before = await lockEndpoint(trx, partnerId);
    if (!before) throw noSuchPartner();
    const sealed = sealSecret(newSecret(), keys, partnerId);
    const until = isoTime(nowMs + PREVIOUS_SECRET_VALID_MS);
    const older = validOldSecrets(before, nowMs);
    if (before.webhookSecret && older.length >= OLD_SECRETS_MAX) throw tooManySecrets(older, nowMs);
    const previous = before.webhookSecret ? { secret: before.webhookSecret, until } : undefined;
    await saveSecrets(trx, partnerId, { secret: sealed, previous, older });
    await audit(outbox, trx, ctx, partnerId);
    const after = { ...before, ...(previous && { webhookPreviousUntil: until }) };
    return { view: endpointView(partnerId, after, nowMs), sealed };
  });
  return { ...kept.view, secret: openSecret(kept.sealed, keys, partnerId) };
}

function tooManySecrets(older: readonly OldSecret[], nowMs: number): Error {
  const untilMs = Math.min(...older.map(({ until }) => Date.parse(until)));
  return fail("TOO_MANY_REQUESTS", "The secret was replaced too often within a day.", {
    retryAfterSeconds: Math.ceil((untilMs - nowMs) / 1_000),
  });
}

/** Tells the partner's system `webhook.test`, once; what came of it is in the deliveries. */
export async function testWebhook(
  { clock, outbox }: EndpointDeps,
  trx: Knex.Transaction,
  ctx: Ctx<Params<"partners.testWebhook">>,
): Promise<WebhookDelivery> {
  const { partnerId } = ctx.params;
  if (!(await findEndpoint(trx, partnerId))) throw noSuchPartner();
  const nowMs = clock.now();
  const messageId = newId(nowMs);
  const deliveryId = newId(nowMs);
  await insertWebhook(trx, {
    ...{ id: newId(nowMs), deliveryId, partnerId, messageId },
    ...{ type: "webhook.test", urgency: "test", body: testBody(messageId, partnerId, isoTime(nowMs)) },
  });
  await audit(outbox, trx, ctx, partnerId);
  return await delivery(trx, deliveryId);
}

export async function listWebhookDeliveries(
  { postgres }: EndpointDeps,
  ctx: Ctx<Params<"partners.listWebhookDeliveries">>,
): Promise<Result<"partners.listWebhookDeliveries">> {
  managerOf(ctx);
  const { partnerId, orderId, cursor, limit = DEFAULT_PAGE_SIZE } = ctx.params;
  const [beforeId] = afterOf(cursor, 1) ?? [];
  const found = await listDeliveries(postgres.db, { partnerId, orderId, beforeId, limit: limit + 1 });
  if (found.length === 0 && !(await findEndpoint(postgres.db, partnerId))) throw noSuchPartner();
  return pageOf(
    found,
    limit,
    ({ id }) => [id],
    (one) => one,
  );
}

/**
 * Sends a message again, with its id of old.
 * @param partnerId absent for the operator, who may replay everybody's
 * @throws NOT_FOUND, ILLEGAL_TRANSITION for an order that is not to be prepared any more
 */
export async function replayWebhook(
  { clock, outbox }: Pick<PartnersDependencies, "clock" | "outbox">,
  trx: Knex.Transaction,
  ctx: Ctx<unknown>,
  deliveryId: string,
  partnerId: string | undefined,
): Promise<WebhookDelivery> {
  const webhook = await lockWebhookOf(trx, deliveryId, partnerId);
  if (!webhook) throw fail("NOT_FOUND", "There is no such delivery.");
  if (webhook.stoppedAt !== undefined) {
    throw fail("ILLEGAL_TRANSITION", "The order was cancelled: it is not to be prepared any more.");
  }
  if (webhook.lastAttempt >= TRIES_MAX) {
    throw fail("ILLEGAL_TRANSITION", `It was sent ${TRIES_MAX} times, which is all there may be.`);
  }
  await audit(outbox, trx, ctx, deliveryId);
  return await delivery(trx, await tryAgain(trx, webhook, newId(clock.now())));
}

async function tryAgain(
  trx: Knex.Transaction,
  webhook: LockedWebhook,
  newDeliveryId: string,
): Promise<string> {
  if (webhook.lastState === "pending") {
    await makeDue(trx, webhook.lastDeliveryId);
    return webhook.lastDeliveryId;
  }
  await addTry(trx, webhook, newDeliveryId);
  return newDeliveryId;
}

async function delivery(trx: Knex.Transaction, id: string): Promise<WebhookDelivery> {
  const found = await findDelivery(trx, id);
  if (!found) throw fail("NOT_FOUND");
  return found;
}

function endpointView(partnerId: string, endpoint: EndpointRow, nowMs: number): WebhookEndpoint {
  const { apiUrl, webhookEnabled, webhookPreviousUntil: until, webhookGoneAt: goneSince } = endpoint;
  return {
    partnerId,
    ...(apiUrl !== undefined && { url: apiUrl }),
    enabled: webhookEnabled,
    ...(goneSince !== undefined && { goneSince }),
    ...(until !== undefined && Date.parse(until) > nowMs && { previousSecretUntil: until }),
  };
}
