import { ACCEPTANCE_MINUTES_DEFAULT } from "../../../contracts/order-status.ts";
import type { Hours, Partner } from "../../../contracts/partners.ts";
import type { Address } from "../../../contracts/shared.ts";
import { affected, type Db, type Rows, row, rows } from "../../../lib/sql/database.ts";

/** A partner as stored. The views compute values that depend on the time. */
export interface PartnerRow {
  id: string;
  title: string;
  brand?: string;
  phone: string;
  email: string;
  address: Address;
  apiUrl?: string;
  currency: string;
  deliveryFeeMinor: number;
  preparationMinutes: number;
  acceptanceMinutes: number;
  proof: Partner["proof"];
  timeZone: string;
  openingSpans: Hours["spans"];
  busyUntil?: string;
  verified: boolean;
  enabled: boolean;
  /** Time at which its endpoint answered 410 Gone. */
  webhookGoneAt?: string;
  version: number;
}

export const PARTNER_COLUMNS = `id, title, brand, phone, email, address, api_url, currency, delivery_fee_minor,
  preparation_minutes, acceptance_minutes, proof, time_zone, opening_spans, busy_until, verified, enabled, webhook_gone_at,
  version`;

export type NewPartner = Omit<
  PartnerRow,
  | "acceptanceMinutes"
  | "timeZone"
  | "openingSpans"
  | "busyUntil"
  | "verified"
  | "enabled"
  | "webhookGoneAt"
  | "version"
> & { acceptanceMinutes?: number };

/** Returns undefined when another partner has the title. */
export async function insertPartner(db: Db, partner: NewPartner): Promise<PartnerRow | undefined> {
  return await row<PartnerRow>(
    db,
    `INSERT INTO partners (id, title, brand, phone, email, address, api_url, currency, delivery_fee_minor,
       preparation_minutes, acceptance_minutes, proof)
     VALUES (:id, :title, :brand, :phone, :email, :address, :apiUrl, :currency, :deliveryFeeMinor,
       :preparationMinutes, :acceptanceMinutes, :proof)
     ON CONFLICT (lower(title)) DO NOTHING
     RETURNING ${PARTNER_COLUMNS}`,
    {
      ...partner,
      brand: partner.brand ?? null,
      address: JSON.stringify(partner.address),
      apiUrl: partner.apiUrl ?? null,
      acceptanceMinutes: partner.acceptanceMinutes ?? ACCEPTANCE_MINUTES_DEFAULT,
    },
  );
}

export async function findPartner(db: Db, id: string): Promise<PartnerRow | undefined> {
  return await row<PartnerRow>(db, `SELECT ${PARTNER_COLUMNS} FROM partners WHERE id = ?`, [id]);
}

export interface PartnerFilter {
  /** Only enabled and verified partners. */
  publicOnly: boolean;
  id?: string | undefined;
  afterId?: string | undefined;
  limit: number;
}

/** Partners in the order of their ids, which is the order of their creation. */
export async function listPartners(db: Db, filter: PartnerFilter): Promise<Rows<PartnerRow>> {
  const conditions: [string, unknown][] = [];
  if (filter.id) conditions.push(["id = ?", filter.id]);
  if (filter.afterId) conditions.push(["id > ?", filter.afterId]);
  const where = [filter.publicOnly ? "enabled AND verified" : "true", ...conditions.map(([sql]) => sql)];
  return await rows<PartnerRow>(
    db,
    `SELECT ${PARTNER_COLUMNS} FROM partners WHERE ${where.join(" AND ")} ORDER BY id LIMIT ?`,
    [...conditions.map(([, value]) => value), filter.limit],
  );
}

/** Null removes an optional field. */
export type PartnerChange = { brand?: string | null; apiUrl?: string | null } & Partial<
  Pick<
    PartnerRow,
    | "title"
    | "phone"
    | "email"
    | "address"
    | "deliveryFeeMinor"
    | "preparationMinutes"
    | "acceptanceMinutes"
    | "proof"
    | "timeZone"
    | "openingSpans"
    | "enabled"
    | "verified"
  >
>;

/**
 * Changes the given fields. Null or an empty text removes an optional field. Returns undefined when the partner does not
 * exist or has another version than expected.
 * @throws the database's error 23505 when another partner has the title
 */
export async function updatePartner(
  db: Db,
  id: string,
  change: PartnerChange,
  expectedVersion: number | undefined,
): Promise<PartnerRow | undefined> {
  const values: [string, unknown][] = [];
  const set = (assignment: string, value: unknown) => {
    if (value !== undefined) values.push([assignment, value]);
  };
  set("title = ?", change.title);
  set("brand = nullif(?, '')", change.brand);
  set("phone = ?", change.phone);
  set("email = ?", change.email);
  set("address = ?", change.address && JSON.stringify(change.address));
  set("api_url = nullif(?, '')", change.apiUrl);
  set("delivery_fee_minor = ?", change.deliveryFeeMinor);
  set("preparation_minutes = ?", change.preparationMinutes);
  set("acceptance_minutes = ?", change.acceptanceMinutes);
  set("proof = ?", change.proof);
  set("time_zone = ?", change.timeZone);
  set("opening_spans = ?", change.openingSpans && JSON.stringify(change.openingSpans));
  set("enabled = ?", change.enabled);
  set("verified = ?", change.verified);
  const assignments = [...values.map(([sql]) => sql), "version = version + 1", "updated_at = now()"];
  return await row<PartnerRow>(
    db,
    `UPDATE partners SET ${assignments.join(", ")}
     WHERE id = ? AND version = coalesce(?, version)
     RETURNING ${PARTNER_COLUMNS}`,
    [...values.map(([, value]) => value), id, expectedVersion ?? null],
  );
}

/**
 * Records when the opening hours or the pause were set, by the caller's clock.
 * @param at default, and maximum: now
 * @returns false when a later setting is stored, or the partner does not exist
 */
export async function recordSetAt(
  trx: Db,
  id: string,
  what: "hours_set_at" | "busy_set_at",
  at: string | undefined,
): Promise<boolean> {
  const count = await affected(
    trx,
    `UPDATE partners SET ${what} = least(coalesce(?::timestamptz, now()), now())
     WHERE id = ? AND (${what} IS NULL OR ${what} <= least(coalesce(?::timestamptz, now()), now()))`,
    [at ?? null, id, at ?? null],
  );
  return count === 1;
}

/**
 * Returns undefined when the partner does not exist or has another version than expected.
 * @param busyUntil absent to end the pause now
 */
export async function setBusyUntil(
  db: Db,
  id: string,
  busyUntil: string | undefined,
  expectedVersion: number | undefined,
): Promise<PartnerRow | undefined> {
  return await row<PartnerRow>(
    db,
    `UPDATE partners SET busy_until = ?, version = version + 1, updated_at = now()
     WHERE id = ? AND version = coalesce(?, version) RETURNING ${PARTNER_COLUMNS}`,
    [busyUntil ?? null, id, expectedVersion ?? null],
  );
}
