import type { Service, ServiceSchema } from "moleculer";
import { type ActionName, implement, type Params, type Result } from "../../contracts/actions.ts";
import type { Ctx } from "../../contracts/meta.ts";
import { type Clock, systemClock } from "../../lib/clock.ts";
import { inBatches } from "../../lib/messaging/runner.ts";
import type { Settings } from "../../lib/settings/settings.ts";
import { tryEach } from "../../lib/try-each.ts";
import { callerOf } from "../../mixins/caller/caller.ts";
import { consumer } from "../../mixins/consumer/consumer.mixin.ts";
import { health } from "../../mixins/health/health.mixin.ts";
import { outbox } from "../../mixins/outbox/outbox.mixin.ts";
import { postgres } from "../../mixins/postgres/postgres.mixin.ts";
import { pruning } from "../../mixins/pruning/pruning.mixin.ts";
import { timer } from "../../mixins/timer/timer.mixin.ts";
import type { IdentityProvider, Sql } from "../../providers/identity/index.ts";
import type { MessageBus } from "../../providers/message-bus/index.ts";
import { deleteAccount, exportData } from "./actions/account.ts";
import { createFirstAdmin, listAudit, recordTold } from "./actions/admin.ts";
import { confirmEmail, undoEmailChange } from "./actions/email-change.ts";
import { acceptInvitation, invite } from "./actions/invitations.ts";
import { changePassword, forgotPassword, resetPassword } from "./actions/passwords.ts";
import { setAvatar, updateProfile } from "./actions/profile.ts";
import {
  ENDED_BATCH,
  listSessions,
  refresh,
  signIn,
  signOut,
  signOutEverywhere,
  tellOfEndedSessions,
} from "./actions/sessions.ts";
import { confirm, register, resendCode } from "./actions/sign-up.ts";
import { digestUnder, type IdentityDependencies, providerSql, toFailure } from "./dependencies.ts";
import { mayChangeAudit } from "./store/audit.repository.ts";
import { sweepCodes } from "./store/codes.repository.ts";
import { sweepUndos } from "./store/email-undos.repository.ts";
import { sweepInvitations } from "./store/invitations.repository.ts";
import { sweepAllowances } from "./store/limits.repository.ts";
import { profileView } from "./store/messages.ts";
import { ownProfile } from "./store/people.ts";
import { profileById } from "./store/profiles.repository.ts";
import { providerOf } from "./store/provider.ts";
import { sweepAccounts } from "./workers/erasure.ts";
import { applyPendingGrants } from "./workers/partner-admins.ts";

const SWEEP_INTERVAL_MS = 300_000;
const SWEEP_BATCH = 1_000;
const INVITATIONS_KEPT_DAYS = 30;
const MAX_IP_LENGTH = 45;
const AUDIT_NOT_SAFE =
  "The user of POSTGRES_URL_IDENTITY could change the audit log: give it one that owns no tables (docs/security.md).";

export interface IdentityDeps {
  config: Settings;
  messageBus: MessageBus;
  clock?: Clock;
  /** Who keeps passwords and sessions; unless told otherwise, what the settings name. */
  provider?: (sql: Sql) => IdentityProvider;
}

/** Users: who they are, how they prove it, what they may do. */
export function identityService({
  config,
  messageBus,
  clock = systemClock,
  ...deps
}: IdentityDeps): ServiceSchema {
  const db = postgres({
    url: config.POSTGRES_URL_IDENTITY,
    poolSize: config.POSTGRES_POOL,
    acquireTimeoutMs: config.POSTGRES_ACQUIRE_TIMEOUT_MS,
    name: "identity",
  });
  const out = outbox({ postgres: db, messageBus, source: "waybill/identity", clock });
  const makeProvider = deps.provider ?? providerOf(config, clock);
  const provider = makeProvider(providerSql(() => db.db));
  const inbox = consumer({
    ...{ postgres: db, messageBus, group: "identity", clock, outbox: out },
    handlers: { "audit.recorded": { inTransaction: recordTold, batch: true } },
  });
  const seals = { secret: config.SEAL_SECRET, previousSecret: config.SEAL_SECRET_PREVIOUS };
  const parts: IdentityDependencies = {
    postgres: db,
    out,
    provider,
    clock,
    digest: digestUnder(config.SEAL_SECRET),
    seals,
    publicUrl: config.PUBLIC_URL,
  };

  const sweep = timer({
    name: "identity's sweep",
    intervalMs: SWEEP_INTERVAL_MS,
    async run(stopping) {
      const batches = (work: () => Promise<number>) => () => inBatches(SWEEP_BATCH, work, stopping);
      const sweeps: (() => Promise<void>)[] = [
        batches(() => sweepCodes(db.db, SWEEP_BATCH)),
        batches(() => sweepAllowances(db.db, SWEEP_BATCH)),
        batches(() => sweepInvitations(db.db, INVITATIONS_KEPT_DAYS, SWEEP_BATCH)),
        batches(() => sweepUndos(db.db, SWEEP_BATCH)),
        () => inBatches(ENDED_BATCH, () => tellOfEndedSessions(parts), stopping),
        () => applyPendingGrants(parts, stopping),
        () => sweepAccounts(parts, stopping),
        () => provider.maintain(stopping),
      ];
      await tryEach("sweeps", sweeps, (one) => one(), stopping);
    },
  });

  const pruner = pruning({ postgres: db, clock, keepDeadLettersDays: config.KEEP_DEAD_LETTERS_DAYS });

  return {
    name: "identity",
    mixins: [
      db.mixin,
      out.mixin,
      inbox.mixin,
      sweep.mixin,
      pruner.mixin,
      health({ checks: { postgres: () => db.ping() }, outbox: out, inbox }).mixin,
    ],
    async started(this: Service) {
      // On one machine the process owns the server and its files; in a cluster the log is worth its user's rights.
      if (config.NODE_ENV === "production" && (await mayChangeAudit(db.db))) this.logger.warn(AUDIT_NOT_SAFE);
    },
    actions: {
      register: action("identity.register", (ctx) => register(parts, ctx.params, ctx.meta.clientIp)),
      confirm: action("identity.confirm", (ctx) => done(confirm(parts, ctx.params, ctx.meta.clientIp))),
      resendCode: action("identity.resendCode", (ctx) =>
        done(resendCode(parts, ctx.params, ctx.meta.clientIp)),
      ),

      signIn: action("identity.signIn", (ctx) =>
        signIn(parts, ctx.params, clientOf(ctx, ctx.params.userAgent)),
      ),
      refresh: action("identity.refresh", (ctx) =>
        refresh(parts, ctx, ctx.params.refreshToken, clientOf(ctx)),
      ),
      sessions: action("identity.sessions", (ctx) => listSessions(parts, callerOf(ctx))),
      signOut: action("identity.signOut", (ctx) =>
        done(signOut(parts, ctx, callerOf(ctx), ctx.params.sessionId)),
      ),
      signOutEverywhere: action("identity.signOutEverywhere", (ctx) =>
        done(signOutEverywhere(parts, ctx, callerOf(ctx))),
      ),

      forgotPassword: action("identity.forgotPassword", (ctx) =>
        done(forgotPassword(parts, ctx.params, ctx.meta.clientIp)),
      ),
      resetPassword: action("identity.resetPassword", (ctx) => done(resetPassword(parts, ctx, ctx.params))),
      changePassword: action("identity.changePassword", (ctx) =>
        done(changePassword(parts, ctx, callerOf(ctx), ctx.params)),
      ),

      profile: action("identity.profile", async (ctx) =>
        profileView(await ownProfile(parts, callerOf(ctx).id)),
      ),
      findRole: action("identity.findRole", async (ctx) => {
        callerOf(ctx, "admin");
        const found = await profileById(db.db, ctx.params.userId);
        return found?.emailConfirmed ? { role: found.role } : {};
      }),
      updateProfile: action("identity.updateProfile", (ctx) =>
        updateProfile(parts, callerOf(ctx), ctx.params, ctx.meta.clientIp),
      ),
      confirmEmail: action("identity.confirmEmail", (ctx) =>
        confirmEmail(parts, ctx, callerOf(ctx), ctx.params.code),
      ),
      undoEmailChange: action("identity.undoEmailChange", (ctx) =>
        done(undoEmailChange(parts, ctx, ctx.params)),
      ),
      setAvatar: action("identity.setAvatar", (ctx) => setAvatar(parts, callerOf(ctx), ctx.params.present)),
      deleteAccount: action("identity.deleteAccount", (ctx) =>
        done(deleteAccount(parts, ctx, callerOf(ctx), ctx.params)),
      ),
      exportData: action("identity.exportData", (ctx) => exportData(parts, callerOf(ctx))),

      invite: action("identity.invite", (ctx) => invite(parts, ctx, callerOf(ctx, "admin", "partner"))),
      acceptInvitation: action("identity.acceptInvitation", (ctx) =>
        acceptInvitation(parts, ctx, ctx.params),
      ),
      audit: action("identity.audit", async (ctx) => {
        callerOf(ctx, "admin");
        return listAudit(parts, ctx.params);
      }),
      /** Reachable on this node only: `broker.call("identity.createAdmin", { email, password })` by the launcher. */
      createAdmin: action("identity.createAdmin", (ctx) => createFirstAdmin(parts, ctx.params), {
        visibility: "protected",
      }),
      jwks: action("identity.jwks", async () => ({ keys: await provider.keys() })),
    },
  };
}

type Handler<N extends ActionName> = (ctx: Ctx<Params<N>>) => Promise<Result<N>>;

/** An action whose handler's errors are those of the catalogue, whatever provider and database throw. */
function action<N extends ActionName>(name: N, handler: Handler<N>, more?: Parameters<typeof implement>[2]) {
  const guarded: Handler<N> = async (ctx) => {
    try {
      return await handler(ctx);
    } catch (error) {
      throw toFailure(error);
    }
  };
  return implement(name, guarded, more);
}

async function done(work: Promise<void>): Promise<Record<string, never>> {
  await work;
  return {};
}

function clientOf(ctx: Ctx<unknown>, userAgent?: string) {
  return { userAgent, ip: ctx.meta.clientIp?.slice(0, MAX_IP_LENGTH) };
}
