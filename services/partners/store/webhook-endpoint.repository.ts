import { affected, type Db, row } from "../../../lib/sql/database.ts";
import { PARTNER_COLUMNS, type PartnerRow } from "./partners.repository.ts";

/** Where and with which sealed secrets a partner's system is spoken to. */
export interface EndpointRow {
  apiUrl?: string;
  webhookEnabled: boolean;
  webhookSecret?: string;
  webhookPreviousSecret?: string;
  webhookPreviousUntil?: string;
  /** Those before the previous one that are still valid, the newest first. */
  webhookOlderSecrets: OldSecret[];
  /** Since when the endpoint has answered that it is gone for good. */
  webhookGoneAt?: string;
}

/** A secret that was replaced; encrypted. */
export interface OldSecret {
  secret: string;
  until: string;
}

const ENDPOINT = `api_url, webhook_enabled, webhook_secret, webhook_previous_secret, webhook_previous_until,
  webhook_older_secrets, webhook_gone_at`;

export async function findEndpoint(db: Db, partnerId: string): Promise<EndpointRow | undefined> {
  return await row<EndpointRow>(db, `SELECT ${ENDPOINT} FROM partners WHERE id = ?`, [partnerId]);
}

export async function lockEndpoint(trx: Db, partnerId: string): Promise<EndpointRow | undefined> {
  return await row<EndpointRow>(trx, `SELECT ${ENDPOINT} FROM partners WHERE id = ? FOR UPDATE`, [partnerId]);
}

/** Sets where a partner's system is, in a row that the transaction has locked. It is not gone any more. */
export async function saveEndpoint(
  trx: Db,
  partnerId: string,
  url: string,
  enabled: boolean,
): Promise<PartnerRow> {
  const saved = await row<PartnerRow>(
    trx,
    `UPDATE partners SET api_url = ?, webhook_enabled = ?, webhook_gone_at = NULL, version = version + 1,
       updated_at = now()
     WHERE id = ? RETURNING ${PARTNER_COLUMNS}`,
    [url, enabled, partnerId],
  );
  return saved as PartnerRow;
}

export interface Secrets {
  /** Sealed. */
  secret: string;
  previous?: OldSecret | undefined;
  older?: readonly OldSecret[];
}

export async function saveSecrets(trx: Db, partnerId: string, secrets: Secrets): Promise<void> {
  await affected(
    trx,
    `UPDATE partners SET webhook_secret = ?, webhook_previous_secret = ?, webhook_previous_until = ?,
       webhook_older_secrets = ?::jsonb, updated_at = now()
     WHERE id = ?`,
    [
      ...[secrets.secret, secrets.previous?.secret ?? null, secrets.previous?.until ?? null],
      ...[JSON.stringify(secrets.older ?? []), partnerId],
    ],
  );
}

/**
 * The partner's system said that it is gone for good: it is not called any more, and the partner takes no orders, until
 * its webhook is set again.
 * @returns undefined when it was disabled before
 */
export async function markEndpointGone(trx: Db, partnerId: string): Promise<PartnerRow | undefined> {
  return await row<PartnerRow>(
    trx,
    `UPDATE partners SET webhook_enabled = false, webhook_gone_at = now(), version = version + 1, updated_at = now()
     WHERE id = ? AND webhook_enabled RETURNING ${PARTNER_COLUMNS}`,
    [partnerId],
  );
}
