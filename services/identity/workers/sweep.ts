import { inBatches } from "../../../lib/messaging/runner.ts";
import { tryEach } from "../../../lib/try-each.ts";
import type { IdentityDependencies } from "../dependencies.ts";
import { sweepCodes } from "../store/codes.repository.ts";
import { sweepUndos } from "../store/email-undos.repository.ts";
import { sweepExports } from "../store/exports.repository.ts";
import { sweepGrpcClients } from "../store/grpc-clients.repository.ts";
import { sweepInvitations } from "../store/invitations.repository.ts";
import { sweepAllowances } from "../store/limits.repository.ts";
import { ENDED_SESSIONS_BATCH, publishEndedSessions } from "./ended-sessions.ts";
import { sweepAccounts } from "./erasure.ts";
import { applyPendingGrants } from "./partner-admins.ts";

const BATCH = 1_000;
const INVITATION_RETENTION_DAYS = 30;
/** The audit log has them for longer. */
const GRPC_CLIENT_RETENTION_DAYS = 90;

/**
 * Removes what has expired, and repeats what a crash or the provider has interrupted.
 * @throws Error with the number of failures, after all parts were tried
 */
export async function sweep(deps: IdentityDependencies, stopping: AbortSignal): Promise<void> {
  const { db } = deps.postgres;
  const parts: (() => Promise<void>)[] = [
    () => inBatches(BATCH, () => sweepCodes(db, BATCH), stopping),
    () => inBatches(BATCH, () => sweepAllowances(db, BATCH), stopping),
    () => inBatches(BATCH, () => sweepInvitations(db, INVITATION_RETENTION_DAYS, BATCH), stopping),
    () => inBatches(BATCH, () => sweepUndos(db, BATCH), stopping),
    () => inBatches(BATCH, () => sweepGrpcClients(db, GRPC_CLIENT_RETENTION_DAYS, BATCH), stopping),
    () => inBatches(ENDED_SESSIONS_BATCH, () => publishEndedSessions(deps), stopping),
    () => inBatches(BATCH, () => sweepExports(db, BATCH), stopping),
    () => applyPendingGrants(deps, stopping),
    () => sweepAccounts(deps, stopping),
    () => deps.provider.maintain(stopping),
  ];
  await tryEach("sweeps", parts, (part) => part(), stopping);
}
