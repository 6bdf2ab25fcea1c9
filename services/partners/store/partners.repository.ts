import type { Hours, Partner } from "../../../contracts/partners.ts";
import type { Address } from "../../../contracts/shared.ts";
import { affected, type Db, type Rows, row, rows } from "../../../lib/sql/database.ts";

/** A partner as it is stored; what depends on the moment is computed from it. */
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
  proof: Partner["proof"];
  timeZone: string;
  openingSpans: Hours["spans"];
  busyUntil?: string;
  verified: boolean;
  enabled: boolean;
  /** Since when its system has said that it is gone for good. */
  webhookGoneAt?: string;
  version: number;
}

export const PARTNER_COLUMNS = `id, title, brand, phone, email, address, api_url, currency, delivery_fee_minor,
  preparation_minutes, proof, time_zone, opening_spans, busy_until, verified, enabled, webhook_gone_at,
  version`;

export type NewPartner = Omit<
  PartnerRow,
  "timeZone" | "openingSpans" | "busyUntil" | "verified" | "enabled" | "webhookGoneAt" | "version"
>;

/** Answers undefined when another partner has the title. */
export async function insertPartner(db: Db, partner: NewPartner): Promise<PartnerRow | undefined> {
  return await row<PartnerRow>(
    db,
    `INSERT INTO partners (id, title, brand, phone, email, address, api_url, currency, delivery_fee_minor,
       preparation_minutes, proof)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT (lower(title)) DO NOTHING
     RETURNING ${PARTNER_COLUMNS}`,
    [
      partner.id,
      partner.title,
      partner.brand ?? null,
      partner.phone,
      partner.email,
      JSON.stringify(partner.address),
      partner.apiUrl ?? null,
      partner.currency,
      partner.deliveryFeeMinor,
      partner.preparationMinutes,
      partner.proof,
    ],
  );
}

export async function findPartner(db: Db, id: string): Promise<PartnerRow | undefined> {
  return await row<PartnerRow>(db, `SELECT ${PARTNER_COLUMNS} FROM partners WHERE id = ?`, [id]);
}

export interface PartnerFilter {
  /** Only those that customers may meet. */
  publicOnly: boolean;
  id?: string | undefined;
  afterId?: string | undefined;
  limit: number;
}

/** Partners in the order of their ids, which is that of their making. */
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

/** Null takes an optional field away. */
export type PartnerChange = { brand?: string | null; apiUrl?: string | null } & Partial<
  Pick<
    PartnerRow,
    | "title"
    | "phone"
    | "email"
    | "address"
    | "deliveryFeeMinor"
    | "preparationMinutes"
    | "proof"
    | "timeZone"
    | "openingSpans"
    | "enabled"
    | "verified"
  >
>;

/**
 * Changes what is given; null or an empty text takes an optional field away. Answers undefined when there is no such
 * partner or its version is another than the one expected.
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
 * Notes when the opening hours or the pause were set, by the clock of whoever set them.
 * @param at absent, or in the future: now
 * @returns false when something that was set later is there, or there is no such partner
 */
export async function noteSetAt(
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
 * Answers undefined when there is no such partner or its version is another than the one expected.
 * @param busyUntil absent: takes orders again at once
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
