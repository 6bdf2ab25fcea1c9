import { affected, type Db, row } from "../../../mixins/postgres/database.ts";
import { PARTNER_COLUMNS, type PartnerRow } from "../partners.repository.ts";

/** Where and with which sealed secrets a partner's system is spoken to. */
export interface EndpointRow {
  apiUrl?: string;
  webhookEnabled: boolean;
  webhookSecret?: string;
  webhookPreviousSecret?: string;
  webhookPreviousUntil?: string;
}

const ENDPOINT = "api_url, webhook_enabled, webhook_secret, webhook_previous_secret, webhook_previous_until";

export async function findEndpoint(db: Db, partnerId: string): Promise<EndpointRow | undefined> {
  return await row<EndpointRow>(db, `SELECT ${ENDPOINT} FROM partners WHERE id = ?`, [partnerId]);
}

export async function lockEndpoint(trx: Db, partnerId: string): Promise<EndpointRow | undefined> {
  return await row<EndpointRow>(trx, `SELECT ${ENDPOINT} FROM partners WHERE id = ? FOR UPDATE`, [partnerId]);
}

/** Sets where a partner's system is, in a row that the transaction has locked. */
export async function saveEndpoint(
  trx: Db,
  partnerId: string,
  url: string,
  enabled: boolean,
): Promise<PartnerRow> {
  const saved = await row<PartnerRow>(
    trx,
    `UPDATE partners SET api_url = ?, webhook_enabled = ?, version = version + 1, updated_at = now()
     WHERE id = ? RETURNING ${PARTNER_COLUMNS}`,
    [url, enabled, partnerId],
  );
  return saved as PartnerRow;
}

export interface Secrets {
  /** Sealed. */
  secret: string;
  previous?: { secret: string; until: string } | undefined;
}

export async function saveSecrets(trx: Db, partnerId: string, secrets: Secrets): Promise<void> {
  await affected(
    trx,
    `UPDATE partners SET webhook_secret = ?, webhook_previous_secret = ?, webhook_previous_until = ?,
       updated_at = now()
     WHERE id = ?`,
    [secrets.secret, secrets.previous?.secret ?? null, secrets.previous?.until ?? null, partnerId],
  );
}
