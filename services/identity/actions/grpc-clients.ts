import { createHash, randomBytes } from "node:crypto";
import type { Context } from "moleculer";
import type { Params, Result } from "../../../contracts/actions.ts";
import { fail, invalidField } from "../../../contracts/errors.ts";
import { GRPC_CLIENTS_MAX, type GrpcClient, grpcKeyOf } from "../../../contracts/grpc-clients.ts";
import type { Caller, Ctx } from "../../../contracts/meta.ts";
import { cursorOf, idsOf } from "../../../lib/cursor.ts";
import { newId } from "../../../lib/ids.ts";
import type { IdentityDependencies } from "../dependencies.ts";
import { addAudit } from "../store/audit.repository.ts";
import {
  activeGrpcClients,
  findGrpcClient,
  grpcClientsPage,
  insertGrpcClient,
  recordGrpcUses,
  revokeGrpcClientRow,
} from "../store/grpc-clients.repository.ts";

const PAGE_SIZE = 50;
const SECRET_BYTES = 32;
const DEFAULT_CALLS_PER_SECOND = 20;

/** Makes a client with a new key, which is shown in this answer only. @throws VALIDATION_ERROR */
export async function createGrpcClient(
  { postgres, clock }: IdentityDependencies,
  ctx: Ctx<Params<"identity.createGrpcClient">>,
  caller: Caller,
): Promise<Result<"identity.createGrpcClient">> {
  const { name, methods, callsPerSecond = DEFAULT_CALLS_PER_SECOND, expiresAt } = ctx.params;
  if (expiresAt !== undefined && Date.parse(expiresAt) <= clock.now())
    throw invalidField("expiresAt", "future", "Must be in the future.");
  const [id, secret] = [newId(), randomBytes(SECRET_BYTES).toString("base64url")];
  const client = await postgres.transact(async (trx) => {
    const inserted = await insertGrpcClient(trx, {
      ...{ id, name, callsPerSecond, expiresAt: expiresAt ?? null, createdBy: caller.id },
      methods: [...new Set(methods)].sort(),
      // No slow hash: 256 random bits cannot be guessed.
      secretHash: createHash("sha256").update(secret).digest("base64url"),
    });
    if (!inserted) {
      const message = `Must be new: a client has this name, or there are ${GRPC_CLIENTS_MAX} clients already.`;
      throw invalidField("name", "taken", message);
    }
    await addAudit(trx, {
      ...{ actorId: caller.id, action: "grpc_client.created", subject: id, ip: ctx.meta.clientIp },
      detail: `${name}: ${inserted.methods.length} methods`,
    });
    return inserted;
  });
  await broadcastChanged(ctx, id);
  return { client, key: grpcKeyOf(id, secret) };
}

/** A repeat broadcasts the revocation again. @throws NOT_FOUND */
export async function revokeGrpcClient(
  { postgres }: IdentityDependencies,
  ctx: Ctx<Params<"identity.revokeGrpcClient">>,
  caller: Caller,
): Promise<GrpcClient> {
  const client = await postgres.transact(async (trx) => {
    const revoked = await revokeGrpcClientRow(trx, ctx.params.client);
    if (!revoked) return findGrpcClient(trx, ctx.params.client);
    await addAudit(trx, {
      ...{ actorId: caller.id, action: "grpc_client.revoked", subject: revoked.id, detail: revoked.name },
      ip: ctx.meta.clientIp,
    });
    return revoked;
  });
  if (!client) throw fail("NOT_FOUND");
  await broadcastChanged(ctx, client.id);
  return client;
}

/** @throws VALIDATION_ERROR for an unknown cursor */
export async function listGrpcClients(
  { postgres }: IdentityDependencies,
  { cursor, limit = PAGE_SIZE }: Params<"identity.grpcClients">,
): Promise<Result<"identity.grpcClients">> {
  const [before] = cursor === undefined ? [] : (idsOf(cursor, 1) ?? []);
  if (cursor !== undefined && !before)
    throw invalidField("cursor", "cursor", "This cursor did not come from this list.");
  const found = await grpcClientsPage(postgres.db, limit + 1, before);
  const items = found.slice(0, limit);
  return { items, ...(found.length > limit && { nextCursor: cursorOf(items.at(-1)?.id as string) }) };
}

export async function grpcClientKeys(
  { postgres }: IdentityDependencies,
  { used }: Params<"identity.grpcClientKeys">,
): Promise<Result<"identity.grpcClientKeys">> {
  await recordGrpcUses(postgres.db, used);
  return { items: await activeGrpcClients(postgres.db) };
}

/** Every node reads the clients again, and ends the calls of this one if it is revoked. */
async function broadcastChanged(ctx: Context, clientId: string): Promise<void> {
  await ctx.broadcast("grpcClient.changed", { clientId });
}
