import type { Knex } from "knex";
import { ACCEPTANCE_MS } from "../../../contracts/orders.ts";
import type { WebhookDelivery } from "../../../contracts/partners.ts";
import { affected, type Db, row, rows } from "../../../lib/sql/database.ts";
import type { Urgency } from "../domain/webhook-schedule.ts";
import type { OldSecret } from "./webhook-endpoint.repository.ts";

const CLAIM_LOCK_KEY = 7_205_120;

/** One try that this process makes, with all that it needs. */
export interface ClaimedTry {
  id: string;
  leaseId: string;
  webhookMessageId: string;
  partnerId: string;
  attempt: number;
  messageId: string;
  type: string;
  orderId?: string;
  urgency: Urgency;
  body: string;
  traceparent?: string;
  /** Until the moment after which no try makes sense; negative when it is past. */
  remainingMs?: number;
  /** How often this try was begun, this time included, without its outcome being recorded. */
  claims: number;
  /** Why this try could not be made so far, for a reason of ours. */
  error?: string;
  apiUrl?: string;
  webhookEnabled: boolean;
  webhookSecret?: string;
  webhookPreviousSecret?: string;
  webhookPreviousUntil?: string;
  webhookOlderSecrets: OldSecret[];
  /** Since when the partner's endpoint has answered that it is gone for good. */
  webhookGoneAt?: string;
  /** How long ago the message was written. */
  ageMs: number;
}

export interface Claim {
  leaseId: string;
  leaseMs: number;
  /** How many tries of one partner may be under way at once, by all processes together. */
  perPartner: number;
  limit: number;
  /** How many of them may be beyond the first of their partner. */
  furtherLimit: number;
}

/**
 * Takes tries that are due, at most so many of each partner that not more of it are under way at once: a partner
 * that hangs fills its own places and nobody else's. Where places are few, those with the fewest under way come first,
 * and only a part of the places is for a partner's second try and further ones: many partners that hang leave room for
 * the first try of every other one.
 *
 * Counting and claiming have to be one, so claims take turns (an advisory lock, held for one statement): with
 * row locks alone two processes would each count the places before the other filled them. The queue is walked
 * from partner to partner by the index, so a long queue of one costs the others nothing; IS TRUE keeps the planner
 * from finding four rows by reading that whole queue.
 *
 * The first try of an order to prepare begins the time that the partner has to accept it, and writes the end of that
 * time into the body: it must not run while the message waits here.
 */
export async function claimTries(trx: Knex.Transaction, claim: Claim): Promise<ClaimedTry[]> {
  await affected(trx, "SELECT pg_advisory_xact_lock(?)", [CLAIM_LOCK_KEY]);
  return await rows<ClaimedTry>(
    trx,
    `WITH RECURSIVE waiting AS (
       (SELECT partner_id FROM webhook_deliveries WHERE state = 'pending' ORDER BY partner_id LIMIT 1)
       UNION ALL
       SELECT (SELECT d.partner_id FROM webhook_deliveries d
               WHERE d.state = 'pending' AND d.partner_id > w.partner_id ORDER BY d.partner_id LIMIT 1)
       FROM waiting w WHERE w.partner_id IS NOT NULL
     ), ranked AS (
       SELECT next.id, next.due_at, next.place,
         count(*) FILTER (WHERE next.place > 1) OVER (ORDER BY next.place, next.due_at, next.id) AS further
       FROM waiting w CROSS JOIN LATERAL (
         SELECT count(*)::integer AS count FROM webhook_deliveries b
         WHERE b.partner_id = w.partner_id AND b.lease_id IS NOT NULL AND b.due_at > now()
       ) busy CROSS JOIN LATERAL (
         SELECT first.id, first.due_at, busy.count + row_number() OVER (ORDER BY first.due_at, first.id) AS place
         FROM (
           SELECT d.id, d.due_at FROM webhook_deliveries d
           WHERE d.partner_id = w.partner_id AND d.state = 'pending' AND d.due_at <= now()
           ORDER BY d.due_at LIMIT greatest(0, ? - busy.count)
         ) first
       ) next
     ), due AS (
       SELECT id FROM ranked WHERE place = 1 OR further <= ? ORDER BY place, due_at LIMIT ?
     ), claimed AS (
       UPDATE webhook_deliveries d
       SET lease_id = ?, due_at = now() + ? * interval '1 millisecond', claims = d.claims + 1, updated_at = now()
       WHERE d.id = ANY (ARRAY(SELECT id FROM due)) AND (d.state = 'pending') IS TRUE
       RETURNING d.id, d.lease_id, d.webhook_message_id, d.partner_id, d.attempt, d.error, d.claims
     ), begun AS (
       UPDATE webhook_messages m SET deadline_at = until.at, updated_at = now(),
         body = jsonb_set(m.body::jsonb, '{data,respond_by}',
           to_jsonb(to_char(until.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')))::text
       FROM claimed c, (SELECT now() + ? * interval '1 millisecond' AS at) until
       WHERE m.id = c.webhook_message_id AND c.attempt = 1 AND m.urgency = 'preparation' AND m.deadline_at IS NULL
       RETURNING m.id, m.body, m.deadline_at
     )
     SELECT c.id, c.lease_id, c.webhook_message_id, c.partner_id, c.attempt, c.error, c.claims, m.message_id, m.type,
       m.order_id, m.urgency, coalesce(b.body, m.body) AS body, m.traceparent,
       floor(extract(epoch FROM coalesce(b.deadline_at, m.deadline_at) - now()) * 1000)::bigint AS remaining_ms,
       floor(extract(epoch FROM now() - m.created_at) * 1000)::bigint AS age_ms,
       p.api_url, p.webhook_enabled, p.webhook_secret, p.webhook_previous_secret, p.webhook_previous_until,
       p.webhook_older_secrets, p.webhook_gone_at
     FROM claimed c
     JOIN webhook_messages m ON m.id = c.webhook_message_id
     LEFT JOIN begun b ON b.id = m.id
     JOIN partners p ON p.id = c.partner_id`,
    [
      ...[claim.perPartner, claim.furtherLimit, claim.limit],
      ...[claim.leaseId, claim.leaseMs, ACCEPTANCE_MS],
    ],
  );
}

/** How a try ended. */
export interface TryResult {
  state: "accepted" | "failed" | "dead";
  statusCode?: number;
  durationMs: number;
  responseHead?: string;
  error?: string;
}

/**
 * Notes the end of a try and answers the state that it now has; undefined when the lease had run out and
 * somebody else has it. A try whose message was stopped meanwhile is stopped, unless the partner accepted it.
 *
 * The message is locked first, as by whoever stops it: so either the stop sees the try that follows this one,
 * or this sees the stop and none follows.
 */
export async function endTry(
  trx: Db,
  { id, leaseId, webhookMessageId }: Pick<ClaimedTry, "id" | "leaseId" | "webhookMessageId">,
  result: TryResult,
): Promise<WebhookDelivery["state"] | undefined> {
  const ended = await row<{ state: WebhookDelivery["state"] }>(
    trx,
    `WITH message AS MATERIALIZED (
       SELECT stopped_at IS NOT NULL AS stopped FROM webhook_messages WHERE id = ? FOR SHARE
     )
     UPDATE webhook_deliveries d
     SET state = CASE WHEN message.stopped AND ?::text <> 'accepted' THEN 'stopped' ELSE ? END,
       status_code = ?, duration_ms = ?, response_head = ?, error = ?, lease_id = NULL, updated_at = now()
     FROM message
     WHERE d.id = ? AND d.lease_id = ? AND d.state IN ('pending', 'stopped')
     RETURNING d.state`,
    [
      ...[webhookMessageId, result.state, result.state, result.statusCode ?? null, result.durationMs],
      ...[result.responseHead ?? null, result.error ?? null, id, leaseId],
    ],
  );
  return ended?.state;
}

/** The try after one that failed. */
export async function insertNextTry(trx: Db, failed: ClaimedTry, id: string, delayMs: number): Promise<void> {
  await affected(
    trx,
    `INSERT INTO webhook_deliveries (id, webhook_message_id, partner_id, attempt, state, due_at)
     VALUES (?, ?, ?, ?, 'pending', now() + ? * interval '1 millisecond')
     ON CONFLICT (webhook_message_id, attempt) DO NOTHING`,
    [id, failed.webhookMessageId, failed.partnerId, failed.attempt + 1, delayMs],
  );
}

/** Gives back a try that was broken off because this process stops: the next one makes it at once. */
export async function giveTryBack(
  db: Db,
  { id, leaseId }: Pick<ClaimedTry, "id" | "leaseId">,
): Promise<void> {
  await affected(
    db,
    `UPDATE webhook_deliveries SET lease_id = NULL, due_at = now(), claims = greatest(0, claims - 1),
       updated_at = now()
     WHERE id = ? AND lease_id = ?`,
    [id, leaseId],
  );
}

/**
 * The try could not be made, for a reason of ours: it is made later and counts as none. A first try takes the time to
 * accept back that it began.
 * @returns false when the lease had run out
 */
export async function holdTry(
  trx: Db,
  { id, leaseId }: Pick<ClaimedTry, "id" | "leaseId">,
  delayMs: number,
  error: string,
): Promise<boolean> {
  const held = await row<{ webhookMessageId: string; attempt: number }>(
    trx,
    `UPDATE webhook_deliveries SET lease_id = NULL, due_at = now() + ? * interval '1 millisecond', error = ?, claims = 0,
       updated_at = now()
     WHERE id = ? AND lease_id = ? AND state = 'pending' RETURNING webhook_message_id, attempt`,
    [delayMs, error, id, leaseId],
  );
  if (held?.attempt === 1) {
    const sql = "UPDATE webhook_messages SET deadline_at = NULL, updated_at = now() WHERE id = ?";
    await affected(trx, sql, [held.webhookMessageId]);
  }
  return held !== undefined;
}

/**
 * Leaves a try until the partner's endpoint is enabled again, or its deadline has come; it counts as none.
 * @returns false when the endpoint is not gone any more
 */
export async function parkTry(
  trx: Db,
  { id, leaseId, partnerId }: Pick<ClaimedTry, "id" | "leaseId" | "partnerId">,
  parkMs: number,
): Promise<boolean> {
  // Enabling the endpoint makes waiting tries due. The row lock makes one of the two see the other.
  const gone = "SELECT 1 FROM partners WHERE id = ? AND webhook_gone_at IS NOT NULL FOR SHARE";
  if ((await affected(trx, gone, [partnerId])) === 0) return false;
  await affected(
    trx,
    `UPDATE webhook_deliveries d
     SET lease_id = NULL, due_at = coalesce(m.deadline_at, now() + ? * interval '1 millisecond'), error = ?,
       updated_at = now()
     FROM webhook_messages m
     WHERE m.id = d.webhook_message_id AND d.id = ? AND d.lease_id = ? AND d.state = 'pending'`,
    [parkMs, "waits until the endpoint is enabled", id, leaseId],
  );
  return true;
}
