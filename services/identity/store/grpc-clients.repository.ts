import { GRPC_CLIENTS_MAX, type GrpcClient, type GrpcClientKey } from "../../../contracts/grpc-clients.ts";
import { affected, type Db, row, rows } from "../../../lib/sql/database.ts";

const CLIENT = `id, name, methods, calls_per_second, expires_at, revoked_at, last_used_at, created_by, created_at,
  CASE WHEN revoked_at IS NOT NULL THEN 'revoked' WHEN expires_at <= now() THEN 'expired' ELSE 'active' END AS state`;
const ACTIVE = "revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())";

export interface NewGrpcClient {
  id: string;
  name: string;
  secretHash: string;
  methods: readonly string[];
  callsPerSecond: number;
  expiresAt: string | null;
  createdBy: string;
}

/** @returns undefined when a client that is not revoked has the name, or when there are as many clients as may be */
export async function insertGrpcClient(db: Db, client: NewGrpcClient): Promise<GrpcClient | undefined> {
  const { id, name, secretHash, methods, callsPerSecond, expiresAt, createdBy } = client;
  return row<GrpcClient>(
    db,
    `INSERT INTO grpc_clients (id, name, secret_hash, methods, calls_per_second, expires_at, created_by)
     SELECT :id, :name, :secretHash, :methods::text[], :callsPerSecond, :expiresAt::timestamptz, :createdBy
     WHERE (SELECT count(*) FROM grpc_clients WHERE ${ACTIVE}) < :max
     ON CONFLICT (name) WHERE revoked_at IS NULL DO NOTHING RETURNING ${CLIENT}`,
    {
      ...{ id, name, secretHash, callsPerSecond, expiresAt, createdBy, max: GRPC_CLIENTS_MAX },
      methods: [...methods],
    },
  );
}

/** Revokes the client with this name or id. @returns undefined when there is none that is not revoked yet */
export async function revokeGrpcClientRow(db: Db, client: string): Promise<GrpcClient | undefined> {
  return row<GrpcClient>(
    db,
    `UPDATE grpc_clients SET revoked_at = now(), updated_at = now()
     WHERE revoked_at IS NULL AND (name = :client OR id::text = :client) RETURNING ${CLIENT}`,
    { client },
  );
}

/** The client with this name or id; of several with the name, the newest. */
export async function findGrpcClient(db: Db, client: string): Promise<GrpcClient | undefined> {
  return row<GrpcClient>(
    db,
    `SELECT ${CLIENT} FROM grpc_clients WHERE name = :client OR id::text = :client ORDER BY id DESC LIMIT 1`,
    { client },
  );
}

/** Newest first. @param before the id of the client that the page continues after */
export async function grpcClientsPage(db: Db, limit: number, before?: string): Promise<GrpcClient[]> {
  return rows<GrpcClient>(
    db,
    `SELECT ${CLIENT} FROM grpc_clients WHERE :before::uuid IS NULL OR id < :before::uuid ORDER BY id DESC LIMIT :limit`,
    { before: before ?? null, limit },
  );
}

export async function activeGrpcClients(db: Db): Promise<GrpcClientKey[]> {
  return rows<GrpcClientKey>(
    db,
    `SELECT id, name, methods, calls_per_second, secret_hash, expires_at FROM grpc_clients WHERE ${ACTIVE}`,
  );
}

/** The clock of a node may be ahead: a time in the future counts as now. */
export async function recordGrpcUses(db: Db, used: readonly { id: string; at: string }[]): Promise<void> {
  if (used.length === 0) return;
  await affected(
    db,
    `UPDATE grpc_clients SET last_used_at = LEAST(used.at, now()), updated_at = now()
     FROM unnest(:ids::uuid[], :times::timestamptz[]) AS used (id, at)
     WHERE grpc_clients.id = used.id AND (last_used_at IS NULL OR last_used_at < LEAST(used.at, now()))`,
    { ids: used.map(({ id }) => id), times: used.map(({ at }) => at) },
  );
}

/** Deletes up to `limit` clients that ended so many days ago. @returns how many */
export async function sweepGrpcClients(db: Db, days: number, limit: number): Promise<number> {
  return affected(
    db,
    `DELETE FROM grpc_clients WHERE id = ANY (ARRAY(
       SELECT id FROM grpc_clients WHERE LEAST(revoked_at, expires_at) < now() - :days * interval '1 day'
       ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED))`,
    { days, limit },
  );
}
