import type { WebhookDelivery } from "../../../contracts/partners.ts";
import { affected, type Db, row, rows, rowsPlannedAnew } from "../../../lib/sql/database.ts";
import type { DeadLetterTable } from "../../../mixins/consumer/dead-letter-drop.ts";
import type { Urgency } from "../domain/webhook-schedule.ts";

export const WEBHOOK_CONSUMER = "partner-webhooks";

/** The last attempt of a webhook that the partner's system did not accept. */
export const deadWebhooks: DeadLetterTable = {
  table: "webhook_deliveries",
  id: "id",
  dead: "state = 'dead'",
  dropped: "stopped",
  consumer: `'${WEBHOOK_CONSUMER}'`,
  type: "(SELECT m.type FROM webhook_messages m WHERE m.id = webhook_message_id)",
  error: "coalesce(error, 'status ' || status_code)",
  partnerId: "partner_id",
};

export interface NewWebhook {
  id: string;
  deliveryId: string;
  partnerId: string;
  /** The `webhook-id` header of every attempt. */
  messageId: string;
  type: string;
  orderId?: string | undefined;
  urgency: Urgency;
  body: string;
  deadlineAt?: string | undefined;
  /** The partner's time to accept the order. Absent: the default. */
  acceptanceMinutes?: number | undefined;
  traceparent?: string | undefined;
}

/**
 * Inserts webhook messages, each with its first attempt, due now. Messages that exist already are left out.
 * @param webhooks no two preparations of one order
 */
export async function insertWebhooks(trx: Db, webhooks: readonly NewWebhook[]): Promise<void> {
  if (webhooks.length === 0) return;
  await affected(
    trx,
    `WITH wanted AS MATERIALIZED (
       SELECT * FROM jsonb_to_recordset(:webhooks::jsonb) AS w(id uuid, "deliveryId" uuid, "partnerId" uuid,
         "messageId" text, type text, "orderId" uuid, urgency text, body text, "deadlineAt" timestamptz,
         "acceptanceMinutes" integer, traceparent text)
     ), message AS (
       INSERT INTO webhook_messages (id, partner_id, message_id, type, order_id, urgency, body, deadline_at,
         acceptance_minutes, traceparent)
       SELECT id, "partnerId", "messageId", type, "orderId", urgency, body, "deadlineAt", "acceptanceMinutes", traceparent
       FROM wanted w
       WHERE urgency <> 'preparation' OR NOT EXISTS (
         SELECT FROM webhook_messages m WHERE m.order_id = w."orderId" AND m.urgency = 'preparation')
       ON CONFLICT (partner_id, message_id) DO NOTHING
       RETURNING id, partner_id
     )
     INSERT INTO webhook_deliveries (id, webhook_message_id, partner_id, attempt, state, due_at)
     SELECT w."deliveryId", m.id, m.partner_id, 1, 'pending', now() FROM message m JOIN wanted w USING (id)`,
    { webhooks: JSON.stringify(webhooks) },
  );
}

/** Whether a preparation webhook of this order exists. */
export async function hasPreparationWebhook(db: Db, orderId: string): Promise<boolean> {
  const found = await affected(
    db,
    "SELECT 1 FROM webhook_messages WHERE order_id = ? AND urgency = 'preparation' LIMIT 1",
    [orderId],
  );
  return found > 0;
}

/** Stops further attempts of the preparation webhook. A running attempt ends, and its result is recorded. */
export async function stopPreparation(trx: Db, orderId: string): Promise<void> {
  const stopped = await rows<{ id: string }>(
    trx,
    `UPDATE webhook_messages SET stopped_at = now(), updated_at = now()
     WHERE order_id = ? AND urgency = 'preparation' AND stopped_at IS NULL
     RETURNING id`,
    [orderId],
  );
  // A separate statement: it sees an attempt that was inserted while the first statement waited for the lock.
  await affected(
    trx,
    `UPDATE webhook_deliveries SET state = 'stopped', updated_at = now()
     WHERE webhook_message_id = ANY (?::uuid[]) AND state = 'pending'`,
    [stopped.map(({ id }) => id)],
  );
}

const LAST_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff";
const DELIVERY = `d.id, m.message_id, m.type, m.order_id, d.attempt, d.state, d.status_code, d.duration_ms,
  d.response_head, d.error, CASE WHEN d.state = 'pending' AND d.lease_id IS NULL THEN d.due_at END AS due_at,
  d.created_at`;

export interface DeliveryFilter {
  partnerId: string;
  orderId?: string | undefined;
  beforeId?: string | undefined;
  limit: number;
}

/** The attempts of one partner, the newest first. */
export async function listDeliveries(db: Db, filter: DeliveryFilter): Promise<WebhookDelivery[]> {
  const { partnerId, orderId, beforeId = LAST_ID, limit } = filter;
  const ofOrder = "AND webhook_message_id = ANY (ARRAY(SELECT id FROM webhook_messages WHERE order_id = ?))";
  return await rowsPlannedAnew<WebhookDelivery>(
    db,
    `SELECT ${DELIVERY}
     FROM (
       SELECT * FROM webhook_deliveries
       WHERE partner_id = ? AND id < ? ${orderId === undefined ? "" : ofOrder}
       ORDER BY id DESC LIMIT ?
     ) d JOIN webhook_messages m ON m.id = d.webhook_message_id
     ORDER BY d.id DESC`,
    [partnerId, beforeId, ...(orderId === undefined ? [] : [orderId]), limit],
  );
}

export async function findDelivery(db: Db, id: string): Promise<WebhookDelivery | undefined> {
  return await row<WebhookDelivery>(
    db,
    `SELECT ${DELIVERY}
     FROM webhook_deliveries d JOIN webhook_messages m ON m.id = d.webhook_message_id
     WHERE d.id = ?`,
    [id],
  );
}

/** A webhook message, locked until the end of the transaction, with its last attempt. */
export interface LockedWebhook {
  id: string;
  partnerId: string;
  stoppedAt?: string;
  lastDeliveryId: string;
  lastAttempt: number;
  lastState: WebhookDelivery["state"];
}

/** Locks the webhook message of an attempt. @param partnerId absent for the operator, who may access every partner */
export async function lockWebhookOf(
  trx: Db,
  deliveryId: string,
  partnerId: string | undefined,
): Promise<LockedWebhook | undefined> {
  const locked = await row<{ id: string }>(
    trx,
    `SELECT m.id FROM webhook_messages m JOIN webhook_deliveries d ON d.webhook_message_id = m.id
     WHERE d.id = ? AND d.partner_id = coalesce(?, d.partner_id) FOR UPDATE OF m`,
    [deliveryId, partnerId ?? null],
  );
  if (!locked) return undefined;
  // A separate statement after the wait for the lock: it sees attempts that were added meanwhile.
  return await row<LockedWebhook>(
    trx,
    `SELECT m.id, m.partner_id, m.stopped_at, d.id AS last_delivery_id, d.attempt AS last_attempt,
       d.state AS last_state
     FROM webhook_messages m JOIN webhook_deliveries d ON d.webhook_message_id = m.id
     WHERE m.id = ? ORDER BY d.attempt DESC LIMIT 1`,
    [locked.id],
  );
}

/** Adds an attempt that is due now, outside the schedule. A dead attempt becomes a failed one. */
export async function addAttempt(trx: Db, webhook: LockedWebhook, deliveryId: string): Promise<void> {
  await affected(
    trx,
    `WITH dead AS (
       UPDATE webhook_deliveries SET state = 'failed', updated_at = now()
       WHERE webhook_message_id = :id AND state = 'dead'
     ), message AS (
       UPDATE webhook_messages SET deadline_at = NULL, updated_at = now() WHERE id = :id
     )
     INSERT INTO webhook_deliveries (id, webhook_message_id, partner_id, attempt, state, due_at)
     VALUES (:deliveryId, :id, :partnerId, :attempt, 'pending', now())`,
    { id: webhook.id, deliveryId, partnerId: webhook.partnerId, attempt: webhook.lastAttempt + 1 },
  );
}

/** Makes a pending attempt due now. Does not change a running one. */
export async function makeDue(trx: Db, deliveryId: string): Promise<void> {
  await affected(
    trx,
    `UPDATE webhook_deliveries SET due_at = now(), updated_at = now()
     WHERE id = ? AND state = 'pending' AND lease_id IS NULL`,
    [deliveryId],
  );
}

/** Makes all waiting attempts of a partner due now, after its endpoint was enabled. */
export async function makeWaitingDue(trx: Db, partnerId: string): Promise<void> {
  await affected(
    trx,
    `UPDATE webhook_deliveries SET due_at = now(), error = NULL, updated_at = now()
     WHERE partner_id = ? AND state = 'pending' AND lease_id IS NULL AND due_at > now()`,
    [partnerId],
  );
}

export interface DeadWebhook {
  id: string;
  messageId: string;
  type: string;
  subject: string;
  attempts: number;
  error: string;
  at: string;
}

/** The dead letters among the webhooks, the latest first. */
export async function listDeadWebhooks(db: Db, limit: number): Promise<DeadWebhook[]> {
  return await rows<DeadWebhook>(
    db,
    `SELECT d.id, m.message_id, m.type, coalesce(m.order_id, m.partner_id)::text AS subject,
       d.attempt AS attempts, coalesce(d.error, 'status ' || d.status_code) AS error, d.updated_at AS at
     FROM webhook_deliveries d JOIN webhook_messages m ON m.id = d.webhook_message_id
     WHERE d.state = 'dead' ORDER BY d.id DESC LIMIT ?`,
    [limit],
  );
}

/** Stops a dead webhook by decision of the operator; false when it does not exist. */
export async function dropDeadWebhook(db: Db, deliveryId: string): Promise<boolean> {
  const dropped = await affected(
    db,
    "UPDATE webhook_deliveries SET state = 'stopped', updated_at = now() WHERE id = ? AND state = 'dead'",
    [deliveryId],
  );
  return dropped > 0;
}

/** Number of pending (waiting or running) attempts and of dead ones. */
export async function countWebhooks(db: Db): Promise<{ pending: number; dead: number }> {
  const counted = await row<{ pending: number; dead: number }>(
    db,
    `SELECT (SELECT count(*)::integer FROM webhook_deliveries WHERE state = 'pending') AS pending,
       (SELECT count(*)::integer FROM webhook_deliveries WHERE state = 'dead') AS dead`,
  );
  return counted as { pending: number; dead: number };
}

/** Stops up to `limit` dead webhooks with an id (ordered by time) below `beforeId` that no operator has handled. */
export async function dropOldDeadWebhooks(db: Db, beforeId: string, limit: number): Promise<number> {
  return await affected(
    db,
    `UPDATE webhook_deliveries SET state = 'stopped', updated_at = now() WHERE ctid = ANY (ARRAY(
       SELECT ctid FROM webhook_deliveries WHERE state = 'dead' AND id < ?
       ORDER BY id LIMIT ? FOR UPDATE SKIP LOCKED))`,
    [beforeId, limit],
  );
}

/** Deletes up to `limit` messages from before `beforeAt`, except those with a pending or dead attempt. */
export async function pruneWebhooks(db: Db, beforeAt: string, limit: number): Promise<number> {
  return await affected(
    db,
    `DELETE FROM webhook_messages WHERE id = ANY (ARRAY(
       SELECT id FROM webhook_messages m
       WHERE created_at < ? AND NOT EXISTS (
         SELECT 1 FROM webhook_deliveries d
         WHERE d.webhook_message_id = m.id AND d.state IN ('pending', 'dead'))
       ORDER BY created_at LIMIT ? FOR UPDATE SKIP LOCKED))`,
    [beforeAt, limit],
  );
}
