import { createHash } from "node:crypto";
import type { Params, Result } from "../../../contracts/actions.ts";
import type { Preferences } from "../../../contracts/notifications.ts";
import { newId } from "../../../lib/ids.ts";
import { affected, type Db, row, rows } from "../../../lib/sql/database.ts";
import { shorten } from "../../../lib/text.ts";
import type { Device } from "../dependencies.ts";
import { type PreferencesRow, preferencesFrom } from "./recipients.repository.ts";

/** Maximum number of devices of a user. One more removes the one with the oldest registration. */
export const DEVICES_MAX = 50;
const FAILURE_MAX = 500;

export type DeviceView = Result<"notifications.devices">["items"][number];
/** A token from the API or from a message, which may name a provider that this release does not know. */
export type NewToken = Omit<Params<"notifications.addDevice">, "provider"> & { provider: string };

const VIEW = `
  SELECT d.id, d.name, d.language, d.created_at,
         coalesce(array_agg(t.provider ORDER BY t.provider) FILTER (WHERE t.provider IS NOT NULL), '{}') AS providers
  FROM devices d LEFT JOIN device_tokens t ON t.device_id = d.id`;

/** A device belongs to the session that registered it last, and is removed when this session ends. */
export interface DeviceOwner {
  userId: string;
  /** Absent in messages of older releases. */
  sessionId?: string | undefined;
}

/**
 * Whether the session that registers a device has ended; without a session, whether any session of the user has. A lock
 * serializes registrations and ends of sessions of the same user.
 */
export async function hasEnded(trx: Db, { userId, sessionId }: DeviceOwner): Promise<boolean> {
  await lockDevices(trx, userId);
  const found = await row(
    trx,
    `SELECT FROM ended_sessions WHERE user_id = ? AND session_id = coalesce(?::uuid, session_id) LIMIT 1`,
    [userId, sessionId ?? null],
  );
  return found !== undefined;
}

/** Removes the devices of these sessions and of unknown sessions, and blocks later registrations by these sessions. */
export async function endSessions(trx: Db, userId: string, sessionIds: readonly string[]): Promise<void> {
  await lockDevices(trx, userId);
  await affected(
    trx,
    `INSERT INTO ended_sessions (session_id, user_id) SELECT unnest(?::uuid[]), ? ON CONFLICT DO NOTHING`,
    [sessionIds, userId],
  );
  await affected(
    trx,
    `DELETE FROM devices WHERE id = ANY (ARRAY(
       SELECT id FROM devices WHERE user_id = ? AND (session_id = ANY(?::uuid[]) OR session_id IS NULL)
       ORDER BY id FOR UPDATE))`,
    [userId, sessionIds],
  );
}

async function lockDevices(trx: Db, userId: string): Promise<void> {
  await rows(trx, "SELECT pg_advisory_xact_lock(hashtextextended(?, 7208))", [userId]);
}

/** Deletes up to `limit` ended sessions whose access tokens have expired. @returns how many */
export async function pruneEndedSessions(db: Db, beforeAt: string, limit: number): Promise<number> {
  return affected(
    db,
    `DELETE FROM ended_sessions WHERE ctid = ANY (ARRAY(
       SELECT ctid FROM ended_sessions WHERE created_at < ?
       ORDER BY created_at LIMIT ? FOR UPDATE SKIP LOCKED))`,
    [beforeAt, limit],
  );
}

/**
 * Saves a push token of a user's device. A token belongs to one device only: if another user had it, it moves here,
 * because another user has signed in to the same app.
 * @returns undefined when `deviceId` is no device of this user
 */
export async function saveToken(
  db: Db,
  owner: DeviceOwner,
  token: NewToken,
): Promise<DeviceView | undefined> {
  const hash = hashOf(token.token);
  const deviceId = await deviceFor(db, owner, token, hash);
  if (!deviceId) return undefined;
  await removeHash(db, token.provider, hash, deviceId);
  await affected(
    db,
    `INSERT INTO device_tokens (device_id, provider, token, token_hash) VALUES (?, ?, ?, ?)
     ON CONFLICT (device_id, provider) DO UPDATE
       SET token = excluded.token, token_hash = excluded.token_hash, last_failure = NULL,
           last_failure_at = NULL, updated_at = now()`,
    [deviceId, token.provider, token.token, hash],
  );
  return row<DeviceView>(db, `${VIEW} WHERE d.id = ? GROUP BY d.id`, [deviceId]);
}

async function deviceFor(
  db: Db,
  { userId, sessionId }: DeviceOwner,
  { provider, deviceId, deviceName, language }: NewToken,
  hash: Buffer,
): Promise<string | undefined> {
  // Concurrent registrations of the same token are serialized.
  await rows(db, "SELECT pg_advisory_xact_lock(hashtextextended(? || encode(?::bytea, 'hex'), 0))", [
    provider,
    hash,
  ]);
  await affected(
    db,
    `SELECT FROM devices WHERE user_id = ? OR id IN (
       SELECT device_id FROM device_tokens WHERE provider = ? AND token_hash = ?)
     ORDER BY id FOR UPDATE`,
    [userId, provider, hash],
  );
  const known = deviceId
    ? { id: deviceId }
    : await row<{ id: string }>(
        db,
        `SELECT d.id FROM devices d JOIN device_tokens t ON t.device_id = d.id
         WHERE d.user_id = ? AND t.provider = ? AND t.token_hash = ?`,
        [userId, provider, hash],
      );
  const values = {
    userId,
    sessionId: sessionId ?? null,
    name: deviceName ?? null,
    language: language ?? null,
  };
  if (known) {
    const count = await affected(
      db,
      `UPDATE devices SET name = coalesce(:name, name), language = coalesce(:language, language),
         session_id = coalesce(:sessionId, session_id), updated_at = now()
       WHERE id = :id AND user_id = :userId`,
      { ...values, id: known.id },
    );
    return count === 1 ? known.id : undefined;
  }
  const id = newId();
  await affected(
    db,
    `INSERT INTO devices (id, user_id, session_id, name, language)
     VALUES (:id, :userId, :sessionId, :name, :language)`,
    { ...values, id },
  );
  await affected(
    db,
    `DELETE FROM devices WHERE id = ANY (ARRAY(SELECT id FROM devices WHERE id IN (
       SELECT id FROM devices WHERE user_id = ? ORDER BY updated_at DESC, id DESC OFFSET ${DEVICES_MAX})
       ORDER BY id FOR UPDATE))`,
    [userId],
  );
  return id;
}

export async function devicesOf(db: Db, userId: string): Promise<DeviceView[]> {
  return rows<DeviceView>(db, `${VIEW} WHERE d.user_id = ? GROUP BY d.id ORDER BY d.id DESC LIMIT ?`, [
    userId,
    DEVICES_MAX,
  ]);
}

/** @returns whether the user had this device */
export async function deleteDevice(db: Db, userId: string, deviceId: string): Promise<boolean> {
  return (await affected(db, "DELETE FROM devices WHERE id = ? AND user_id = ?", [deviceId, userId])) === 1;
}

/** A user's notification settings, and the devices with their tokens, for a push. */
export interface Channels {
  preferences: Preferences;
  devices: Device[];
}

/** The channels of each of these users. One statement for all. */
export async function channelsOf(db: Db, userIds: readonly string[]): Promise<Map<string, Channels>> {
  const found = await rows<
    PreferencesRow & { userId: string; tokens?: { device: string; provider: string; token: string }[] }
  >(
    db,
    `SELECT u.user_id, p.push, p.email, p.quiet_from_minute, p.quiet_until_minute, p.quiet_time_zone,
       (SELECT json_agg(json_build_object('device', t.device_id, 'provider', t.provider, 'token', t.token))
        FROM device_tokens t JOIN devices d ON d.id = t.device_id
        WHERE d.user_id = u.user_id
          AND d.id IN (SELECT id FROM devices WHERE user_id = u.user_id ORDER BY id DESC LIMIT :limit)) AS tokens
     FROM unnest(:userIds::uuid[]) AS u(user_id) LEFT JOIN preferences p ON p.user_id = u.user_id`,
    { userIds, limit: DEVICES_MAX },
  );
  return new Map(
    found.map(({ userId, tokens = [], ...chosen }) => {
      const devices = [...Map.groupBy(tokens, ({ device }) => device)].map(([id, its]) => ({
        id,
        tokens: its.map(({ provider, token }) => ({ provider, token })),
      }));
      return [userId, { preferences: preferencesFrom(chosen), devices }];
    }),
  );
}

/**
 * Locks the devices of tokens, in the order of their ids. Call it before a transaction changes or removes several tokens.
 * Every transaction locks a device before its tokens, as its deletion does.
 */
export async function lockDevicesOf(
  trx: Db,
  tokens: readonly { provider: string; token: string }[],
): Promise<void> {
  if (tokens.length === 0) return;
  await affected(
    trx,
    `SELECT FROM devices WHERE id IN (
       SELECT device_id FROM device_tokens
       WHERE (provider, token_hash) IN (SELECT * FROM unnest(?::text[], ?::bytea[])))
     ORDER BY id FOR UPDATE`,
    [tokens.map(({ provider }) => provider), tokens.map(({ token }) => hashOf(token))],
  );
}

/** Records why the last push to a token failed. */
export async function recordTokenFailure(
  db: Db,
  { provider, token, detail }: { provider: string; token: string; detail: string },
): Promise<void> {
  await affected(
    db,
    `UPDATE device_tokens SET last_failure = ?, last_failure_at = now(), updated_at = now()
     WHERE provider = ? AND token_hash = ?`,
    [shorten(detail, FAILURE_MAX), provider, hashOf(token)],
  );
}

/**
 * Removes a token that its provider no longer knows, unless it was replaced meanwhile. The transaction has locked its
 * device.
 */
export async function removeToken(
  db: Db,
  { provider, token }: { provider: string; token: string },
): Promise<void> {
  await removeHash(db, provider, hashOf(token));
}

/** Also removes a device without any remaining token. @param keepOn the device whose token stays */
async function removeHash(db: Db, provider: string, hash: Buffer, keepOn?: string): Promise<void> {
  await affected(
    db,
    `WITH gone AS (
       DELETE FROM device_tokens
       WHERE provider = ? AND token_hash = ? AND device_id IS DISTINCT FROM ?::uuid RETURNING device_id)
     DELETE FROM devices d USING gone
     WHERE d.id = gone.device_id
       AND NOT EXISTS (SELECT 1 FROM device_tokens t WHERE t.device_id = d.id AND t.provider <> ?)`,
    [provider, hash, keepOn ?? null, provider],
  );
}

function hashOf(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}
