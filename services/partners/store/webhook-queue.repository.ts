import { ACCEPTANCE_MINUTES_DEFAULT } from "../../../contracts/order-status.ts";
import type { WebhookDelivery } from "../../../contracts/partners.ts";
import { affected, type Db, row, rows, type Transaction } from "../../../lib/sql/database.ts";
import { type Lease, leasedQueue } from "../../../lib/sql/leased-queue.ts";
import { insertOfMessages } from "../../../mixins/outbox/outbox.repository.ts";
import type { Urgency } from "../domain/webhook-schedule.ts";
import type { ReplacedSecret } from "./webhook-endpoint.repository.ts";

const CLAIM_LOCK_KEY = 7_205_120;

const attemptQueue = leasedQueue({ table: "webhook_deliveries", dueAt: "due_at", leaseId: "lease_id" });

/** One attempt that this process has claimed. */
export interface ClaimedAttempt extends Lease {
  webhookMessageId: string;
  partnerId: string;
  attempt: number;
  messageId: string;
  type: string;
  orderId?: string;
  urgency: Urgency;
  body: string;
  traceparent?: string;
  /** Time until the deadline of the webhook; negative after it. */
  remainingMs?: number;
  /** Number of claims of this attempt without a recorded result, including this one. */
  claims: number;
  /** The platform's error that deferred this attempt before. */
  error?: string;
  apiUrl?: string;
  webhookEnabled: boolean;
  webhookSecret?: string;
  webhookPreviousSecret?: string;
  webhookPreviousUntil?: string;
  webhookOlderSecrets: ReplacedSecret[];
  /** Time at which the endpoint answered 410 Gone. */
  webhookGoneAt?: string;
  /** Age of the message. */
  ageMs: number;
}

export interface ClaimLimits {
  leaseId: string;
  leaseMs: number;
  /** Limit of concurrent attempts of one partner in all processes together. */
  perPartner: number;
  /** Limit of claimed attempts. */
  limit: number;
  /** Limit of claimed attempts that are not the only one of their partner. */
  furtherLimit: number;
}

/**
 * Claims due attempts. Limits the concurrent attempts of each partner, so that a partner that does not answer uses only its
 * own slots. When slots are few, partners with the fewest running attempts come first, and second and further attempts of
 * a partner may use only a part of the slots. So other partners can still make their first attempt when many partners do
 * not answer.
 *
 * Counting and claiming must be atomic, so an advisory lock serialises claims for one statement. With row locks alone, two
 * processes would both count the running attempts before either of them claims. The query walks from partner to partner
 * by the index, so that a long queue of one partner does not slow the others; IS TRUE keeps the planner from reading a
 * whole queue to find four rows.
 *
 * A claim never waits for a row, since all partners wait for the claim: it skips attempts whose row or message another
 * transaction has locked, such as the stop of an order's webhook. The next claim finds them.
 *
 * The first attempt of a preparation webhook starts the partner's time to accept the order, and writes the end of that time
 * into the body. That time must not pass while the message waits in the queue.
 */
export async function claimAttempts(trx: Transaction, claim: ClaimLimits): Promise<ClaimedAttempt[]> {
  await affected(trx, "SELECT pg_advisory_xact_lock(?)", [CLAIM_LOCK_KEY]);
  return await rows<ClaimedAttempt>(
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
           ORDER BY d.due_at LIMIT greatest(0, :perPartner - busy.count)
         ) first
       ) next
     ), due AS (
       SELECT id FROM ranked WHERE place = 1 OR further <= :furtherLimit ORDER BY place, due_at LIMIT :limit
     ), free AS MATERIALIZED (
       SELECT d.id FROM webhook_deliveries d JOIN webhook_messages m ON m.id = d.webhook_message_id
       WHERE d.id = ANY (ARRAY(SELECT id FROM due)) AND (d.state = 'pending') IS TRUE AND d.due_at <= now()
       FOR NO KEY UPDATE SKIP LOCKED
     ), claimed AS (
       UPDATE webhook_deliveries d
       SET ${attemptQueue.claimed}, claims = d.claims + 1, updated_at = now()
       WHERE d.id = ANY (ARRAY(SELECT id FROM free))
       RETURNING d.id, d.lease_id, d.webhook_message_id, d.partner_id, d.attempt, d.error, d.claims
     ), begun AS (
       UPDATE webhook_messages m SET deadline_at = until.at, updated_at = now(),
         body = jsonb_set(m.body::jsonb, '{data,respond_by}',
           to_jsonb(to_char(until.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')))::text
       FROM claimed c JOIN webhook_messages w ON w.id = c.webhook_message_id, LATERAL (
         SELECT now() + coalesce(w.acceptance_minutes, :acceptanceMinutes) * interval '1 minute' AS at) until
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
    { ...claim, acceptanceMinutes: ACCEPTANCE_MINUTES_DEFAULT },
  );
}

/** The recorded result of an attempt. */
export interface AttemptRecord {
  state: "accepted" | "failed" | "dead";
  statusCode?: number;
  durationMs: number;
  responseHead?: string;
  error?: string;
}

/**
 * Records the result of an attempt and returns its new state; undefined when the lease had expired and another process has
 * claimed it. An attempt whose message was stopped meanwhile becomes stopped, unless the partner accepted it.
 *
 * Locks the message first, as stopping does. So either the stop sees the next attempt, or this statement sees the stop and
 * no next attempt follows.
 * @param messages the rows of the outbox, which are inserted if the result is recorded
 */
export async function endAttempt(
  trx: Db,
  { id, leaseId, webhookMessageId }: Lease & Pick<ClaimedAttempt, "webhookMessageId">,
  result: AttemptRecord,
  messages = "[]",
): Promise<WebhookDelivery["state"] | undefined> {
  const ended = await row<{ state: WebhookDelivery["state"] }>(
    trx,
    `WITH message AS MATERIALIZED (
       SELECT stopped_at IS NOT NULL AS stopped FROM webhook_messages WHERE id = :webhookMessageId FOR SHARE
     ), ended AS (
       UPDATE webhook_deliveries d
       SET state = CASE WHEN message.stopped AND CAST(:state AS text) <> 'accepted' THEN 'stopped' ELSE :state END,
         status_code = :statusCode, duration_ms = :durationMs, response_head = :responseHead, error = :error,
         lease_id = NULL, updated_at = now()
       FROM message
       WHERE d.id = :id AND d.lease_id = :leaseId AND d.state IN ('pending', 'stopped')
       RETURNING d.state
     ), said AS (${insertOfMessages("ended")})
     SELECT state FROM ended`,
    {
      messages,
      ...{ id, leaseId, webhookMessageId, state: result.state, durationMs: result.durationMs },
      statusCode: result.statusCode ?? null,
      responseHead: result.responseHead ?? null,
      error: result.error ?? null,
    },
  );
  return ended?.state;
}

/** Inserts the attempt after a failed one. */
export async function insertNextAttempt(
  trx: Db,
  failed: ClaimedAttempt,
  id: string,
  delayMs: number,
): Promise<void> {
  await affected(
    trx,
    `INSERT INTO webhook_deliveries (id, webhook_message_id, partner_id, attempt, state, due_at)
     VALUES (:id, :webhookMessageId, :partnerId, :attempt, 'pending', now() + :delayMs * interval '1 millisecond')
     ON CONFLICT (webhook_message_id, attempt) DO NOTHING`,
    {
      ...{ id, delayMs, attempt: failed.attempt + 1 },
      ...{ webhookMessageId: failed.webhookMessageId, partnerId: failed.partnerId },
    },
  );
}

/** Releases an attempt that was aborted because the process stops. Another process makes it at once. */
export async function releaseAttempt(db: Db, attempt: Lease): Promise<void> {
  const set = "claims = greatest(0, claims - 1), updated_at = now()";
  await attemptQueue.release(db, attempt, { set }, { delayMs: 0 });
}

/**
 * Defers an attempt that the platform could not make. It is not counted. A deferred first attempt resets the partner's time
 * to accept. Locks the message before the attempt, as every transaction does.
 * @returns false when the lease was lost or the attempt was stopped
 */
export async function deferAttempt(
  trx: Db,
  attempt: Lease & Pick<ClaimedAttempt, "webhookMessageId" | "attempt">,
  delayMs: number,
  error: string,
): Promise<boolean> {
  const set = "error = :error, claims = 0, updated_at = now()";
  await affected(trx, "SELECT FROM webhook_messages WHERE id = ? FOR NO KEY UPDATE", [
    attempt.webhookMessageId,
  ]);
  const deferred = await attemptQueue.release<{ state: WebhookDelivery["state"] }>(
    trx,
    attempt,
    { set, returning: "state" },
    { delayMs, error },
  );
  if (deferred?.state !== "pending") return false;
  if (attempt.attempt === 1) {
    const sql = "UPDATE webhook_messages SET deadline_at = NULL, updated_at = now() WHERE id = ?";
    await affected(trx, sql, [attempt.webhookMessageId]);
  }
  return true;
}

/**
 * Parks an attempt until the endpoint is enabled again or its deadline passes. It is not counted.
 * @returns false when the endpoint is no longer marked as gone
 */
export async function parkAttempt(
  trx: Db,
  attempt: Lease & Pick<ClaimedAttempt, "partnerId">,
  parkMs: number,
): Promise<boolean> {
  // Enabling the endpoint makes waiting attempts due. The row lock ensures that one of the two sees the other.
  const gone = "SELECT 1 FROM partners WHERE id = ? AND webhook_gone_at IS NOT NULL FOR SHARE";
  if ((await affected(trx, gone, [attempt.partnerId])) === 0) return false;
  const deadline = "(SELECT deadline_at FROM webhook_messages m WHERE m.id = webhook_message_id)";
  await attemptQueue.release(
    trx,
    attempt,
    {
      dueAt: `coalesce(${deadline}, now() + :parkMs * interval '1 millisecond')`,
      set: "error = 'waits until the endpoint is enabled', updated_at = now()",
    },
    { parkMs },
  );
  return true;
}
