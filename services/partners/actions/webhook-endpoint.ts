import type { Params, Result } from "../../../contracts/actions.ts";
import { fail } from "../../../contracts/errors.ts";
import { type Ctx, operatorRoles } from "../../../contracts/meta.ts";
import type { WebhookDelivery, WebhookEndpoint } from "../../../contracts/partners.ts";
import { isoTime } from "../../../lib/clock.ts";
import { newId } from "../../../lib/ids.ts";
import type { Transaction } from "../../../lib/sql/database.ts";
import { newSecret } from "../../../lib/webhook-signature.ts";
import { callerOf } from "../../../mixins/caller/caller.ts";
import { audit } from "../../../mixins/outbox/audit.ts";
import { idempotent } from "../../../mixins/postgres/idempotency.ts";
import type { PartnersDependencies } from "../dependencies.ts";
import { testBody } from "../domain/webhook-events.ts";
import {
  addAttempt,
  findDelivery,
  insertWebhooks,
  type LockedWebhook,
  listDeliveries,
  lockWebhookOf,
  makeDue,
  makeWaitingDue,
  type NewWebhook,
} from "../store/webhook-deliveries.repository.ts";
import {
  type EndpointRow,
  findEndpoint,
  lockEndpoint,
  type ReplacedSecret,
  saveEndpoint,
  saveSecrets,
} from "../store/webhook-endpoint.repository.ts";
import { announcePartner } from "../use-cases/announce-partner.ts";
import { decryptSecret, encryptSecret, validOldSecrets } from "../use-cases/webhook-secrets.ts";
import { adminOf, managerOf, noSuchPartner } from "./access.ts";
import { afterOf, pageOf } from "./pages.ts";
import { refuseBadUrl } from "./webhook-url.ts";

/** Limit of stored attempts for one webhook message. */
const ATTEMPTS_MAX = 1_000;
const PREVIOUS_SECRET_VALID_MS = 86_400_000;
/** Every call carries one signature for each valid secret, so their number is limited. */
const REPLACED_SECRETS_MAX = 4;
const DEFAULT_PAGE_SIZE = 20;
/** How many attempts the diagnosis of an order shows. */
const ORDER_ATTEMPTS_MAX = 50;

export async function getWebhook(
  { postgres, clock }: PartnersDependencies,
  ctx: Ctx<Params<"partners.getWebhook">>,
): Promise<WebhookEndpoint> {
  managerOf(ctx);
  const { partnerId } = ctx.params;
  const endpoint = await findEndpoint(postgres.db, partnerId);
  if (!endpoint) throw noSuchPartner();
  return endpointView(partnerId, endpoint, clock.now());
}

/** For the diagnosis of an order. */
export async function orderWebhooks(
  { postgres }: PartnersDependencies,
  ctx: Ctx<Params<"partners.orderWebhooks">>,
): Promise<Result<"partners.orderWebhooks">> {
  callerOf(ctx, ...operatorRoles);
  const { partnerId, orderId } = ctx.params;
  const [endpoint, deliveries] = await Promise.all([
    findEndpoint(postgres.db, partnerId),
    listDeliveries(postgres.db, { partnerId, orderId, limit: ORDER_ATTEMPTS_MAX }),
  ]);
  if (!endpoint) throw noSuchPartner();
  return { endpoint: endpointState(endpoint), deliveries };
}

function endpointState({ apiUrl, webhookSecret, webhookEnabled, webhookGoneAt }: EndpointRow) {
  if (apiUrl === undefined || webhookSecret === undefined) return "none";
  if (webhookEnabled) return "enabled";
  return webhookGoneAt === undefined ? "disabled" : "gone";
}

/**
 * Sets the webhook endpoint of the partner's system. The first answer contains the secret.
 * @throws VALIDATION_ERROR for a URL that the platform must not call
 */
export async function setWebhook(
  deps: PartnersDependencies,
  ctx: Ctx<Params<"partners.setWebhook">>,
): Promise<WebhookEndpoint> {
  adminOf(ctx);
  const { partnerId, url, enabled } = ctx.params;
  refuseBadUrl(deps.guard, "url", url);
  return await deps.postgres.transact(async (trx) => {
    const before = await lockEndpoint(trx, partnerId);
    if (!before) throw noSuchPartner();
    await announcePartner(deps, trx, await saveEndpoint(trx, partnerId, url, enabled));
    await audit(deps.outbox, trx, ctx, partnerId, enabled ? "enabled" : "disabled");
    if (enabled) {
      await makeWaitingDue(trx, partnerId);
      deps.wakeSenderAfter(trx);
    }
    const secret = before.webhookSecret === undefined ? newSecret() : undefined;
    if (secret) await saveSecrets(trx, partnerId, { secret: encryptSecret(secret, deps.keys, partnerId) });
    const { webhookGoneAt: _gone, ...known } = before;
    const after = { ...known, apiUrl: url, webhookEnabled: enabled };
    return { ...endpointView(partnerId, after, deps.clock.now()), ...(secret && { secret }) };
  });
}

/**
 * Replaces the secret. Only the answer contains the new one, also the answer to a repeat with the same Idempotency-Key.
 * Replaced secrets sign and verify for one more day.
 * @throws TOO_MANY_REQUESTS while the maximum number of secrets is valid
 */
export async function rotateSecret(
  { postgres, keys, clock, outbox }: PartnersDependencies,
  ctx: Ctx<Params<"partners.rotateWebhookSecret">>,
): Promise<WebhookEndpoint> {
  adminOf(ctx);
  const { partnerId } = ctx.params;
  const nowMs = clock.now();
  // The stored answer for repeats contains only the encrypted secret.
  const stored = await idempotent(postgres, ctx, "partners.rotateWebhookSecret", async (trx) => {
    const before = await lockEndpoint(trx, partnerId);
    if (!before) throw noSuchPartner();
    const encrypted = encryptSecret(newSecret(), keys, partnerId);
    const until = isoTime(nowMs + PREVIOUS_SECRET_VALID_MS);
    const older = validOldSecrets(before, nowMs);
    if (before.webhookSecret && older.length >= REPLACED_SECRETS_MAX) throw tooManySecrets(older, nowMs);
    const previous = before.webhookSecret ? { secret: before.webhookSecret, until } : undefined;
    await saveSecrets(trx, partnerId, { secret: encrypted, previous, older });
    await audit(outbox, trx, ctx, partnerId);
    const after = { ...before, ...(previous && { webhookPreviousUntil: until }) };
    return { view: endpointView(partnerId, after, nowMs), encrypted };
  });
  return { ...stored.view, secret: decryptSecret(stored.encrypted, keys, partnerId) };
}

function tooManySecrets(older: readonly ReplacedSecret[], nowMs: number): Error {
  const untilMs = Math.min(...older.map(({ until }) => Date.parse(until)));
  return fail("TOO_MANY_REQUESTS", "The secret was replaced too often within a day.", {
    retryAfterSeconds: Math.ceil((untilMs - nowMs) / 1_000),
  });
}

/** Sends `webhook.test` to the partner's system once. The list of deliveries shows the result. */
export async function testWebhook(
  { postgres, clock, outbox, wakeSenderAfter }: PartnersDependencies,
  ctx: Ctx<Params<"partners.testWebhook">>,
): Promise<WebhookDelivery> {
  adminOf(ctx);
  const { partnerId } = ctx.params;
  return await idempotent(postgres, ctx, "partners.testWebhook", async (trx) => {
    wakeSenderAfter(trx);
    if (!(await findEndpoint(trx, partnerId))) throw noSuchPartner();
    const nowMs = clock.now();
    const messageId = newId(nowMs);
    const deliveryId = newId(nowMs);
    const test: NewWebhook = {
      ...{ id: newId(nowMs), deliveryId, partnerId, messageId, type: "webhook.test" },
      urgency: "test",
      body: testBody(messageId, partnerId, isoTime(nowMs)),
    };
    await insertWebhooks(trx, [test]);
    await audit(outbox, trx, ctx, partnerId);
    return await requireDelivery(trx, deliveryId);
  });
}

export async function listWebhookDeliveries(
  { postgres }: PartnersDependencies,
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

/** @throws as `replayWebhook` */
export async function replayWebhookDelivery(
  deps: PartnersDependencies,
  ctx: Ctx<Params<"partners.replayWebhookDelivery">>,
): Promise<WebhookDelivery> {
  managerOf(ctx);
  const { deliveryId, partnerId } = ctx.params;
  return await idempotent(deps.postgres, ctx, "partners.replayWebhookDelivery", (trx) =>
    replayWebhook(deps, trx, ctx, deliveryId, partnerId),
  );
}

/**
 * Sends a message again with the same message id.
 * @param partnerId absent for the operator, who may replay the messages of every partner
 * @throws NOT_FOUND, ILLEGAL_TRANSITION for an order that was cancelled, or after the maximum of attempts
 */
export async function replayWebhook(
  deps: Pick<PartnersDependencies, "clock" | "outbox" | "wakeSenderAfter">,
  trx: Transaction,
  ctx: Ctx<unknown>,
  deliveryId: string,
  partnerId: string | undefined,
): Promise<WebhookDelivery> {
  const id = await requeueWebhook(deps, trx, deliveryId, partnerId);
  await audit(deps.outbox, trx, ctx, deliveryId);
  return await requireDelivery(trx, id);
}

/** The same without an entry in the audit log. @returns the id of the new attempt */
export async function requeueWebhook(
  { clock, wakeSenderAfter }: Pick<PartnersDependencies, "clock" | "wakeSenderAfter">,
  trx: Transaction,
  deliveryId: string,
  partnerId: string | undefined,
): Promise<string> {
  wakeSenderAfter(trx);
  const webhook = await lockWebhookOf(trx, deliveryId, partnerId);
  if (!webhook) throw fail("NOT_FOUND", "There is no such delivery.");
  if (webhook.stoppedAt !== undefined) {
    throw fail("ILLEGAL_TRANSITION", "The order was cancelled: it is not to be prepared any more.");
  }
  if (webhook.lastAttempt >= ATTEMPTS_MAX) {
    throw fail("ILLEGAL_TRANSITION", `It was sent ${ATTEMPTS_MAX} times, which is all there may be.`);
  }
  return await retry(trx, webhook, newId(clock.now()));
}

async function retry(trx: Transaction, webhook: LockedWebhook, newDeliveryId: string): Promise<string> {
  if (webhook.lastState === "pending") {
    await makeDue(trx, webhook.lastDeliveryId);
    return webhook.lastDeliveryId;
  }
  await addAttempt(trx, webhook, newDeliveryId);
  return newDeliveryId;
}

async function requireDelivery(trx: Transaction, id: string): Promise<WebhookDelivery> {
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
