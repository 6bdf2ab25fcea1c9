import { affected, type Db, row, rows } from "../../../lib/sql/database.ts";
import { PARTNER_COLUMNS, type PartnerRow } from "./partners.repository.ts";

/** The endpoint of a partner's system, with its encrypted secrets. */
export interface EndpointRow {
  apiUrl?: string;
  webhookEnabled: boolean;
  webhookSecret?: string;
  webhookPreviousSecret?: string;
  webhookPreviousUntil?: string;
  /** Valid secrets older than the previous one, the newest first. */
  webhookOlderSecrets: ReplacedSecret[];
  /** Time at which the endpoint answered 410 Gone. */
  webhookGoneAt?: string;
}

/** A replaced secret, encrypted, and the end of its validity. */
export interface ReplacedSecret {
  secret: string;
  until: string;
}

const ENDPOINT = `api_url, webhook_enabled, webhook_secret, webhook_previous_secret, webhook_previous_until,
  webhook_older_secrets, webhook_gone_at`;

export async function findEndpoint(db: Db, partnerId: string): Promise<EndpointRow | undefined> {
  return await row<EndpointRow>(db, `SELECT ${ENDPOINT} FROM partners WHERE id = ?`, [partnerId]);
}

/** The endpoints of partners, by their ids. */
export async function findEndpoints(
  db: Db,
  partnerIds: readonly string[],
): Promise<Map<string, EndpointRow>> {
  const found = await rows<EndpointRow & { id: string }>(
    db,
    `SELECT id, ${ENDPOINT} FROM partners WHERE id = ANY (?::uuid[])`,
    [partnerIds],
  );
  return new Map(found.map(({ id, ...endpoint }) => [id, endpoint]));
}

/**
 * Whether webhooks are sent to this endpoint, now or after the partner has repaired an endpoint that is gone. Otherwise the
 * partner takes orders by hand.
 */
export function takesWebhooks({
  apiUrl,
  webhookSecret,
  webhookEnabled,
  webhookGoneAt,
}: EndpointRow): boolean {
  const isSet = apiUrl !== undefined && webhookSecret !== undefined;
  return isSet && (webhookEnabled || webhookGoneAt !== undefined);
}

/** Locks the endpoint against other changes of it. Inserts that refer to the partner do not wait for this lock. */
export async function lockEndpoint(trx: Db, partnerId: string): Promise<EndpointRow | undefined> {
  return await row<EndpointRow>(trx, `SELECT ${ENDPOINT} FROM partners WHERE id = ? FOR NO KEY UPDATE`, [
    partnerId,
  ]);
}

/** Sets the endpoint in a row that the transaction has locked, and clears `webhook_gone_at`. */
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

export interface EncryptedSecrets {
  secret: string;
  previous?: ReplacedSecret | undefined;
  older?: readonly ReplacedSecret[];
}

export async function saveSecrets(trx: Db, partnerId: string, secrets: EncryptedSecrets): Promise<void> {
  await affected(
    trx,
    `UPDATE partners SET webhook_secret = :secret, webhook_previous_secret = :previousSecret,
       webhook_previous_until = :previousUntil, webhook_older_secrets = CAST(:older AS jsonb), updated_at = now()
     WHERE id = :partnerId`,
    {
      ...{ partnerId, secret: secrets.secret, older: JSON.stringify(secrets.older ?? []) },
      previousSecret: secrets.previous?.secret ?? null,
      previousUntil: secrets.previous?.until ?? null,
    },
  );
}

/**
 * Disables an endpoint that answered 410 Gone. The partner takes no orders until its webhook is set again.
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
