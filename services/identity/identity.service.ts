import type { Service, ServiceBroker, ServiceSchema } from "moleculer";
import { type ActionName, implement, type Params, type Result } from "../../contracts/actions.ts";
import type { Ctx } from "../../contracts/meta.ts";
import { type Clock, systemClock } from "../../lib/clock.ts";
import type { Settings } from "../../lib/settings/settings.ts";
import { callerOf } from "../../mixins/caller/caller.ts";
import { consumer } from "../../mixins/consumer/consumer.mixin.ts";
import { health } from "../../mixins/health/health.mixin.ts";
import { nodeDependencies } from "../../mixins/node-dependencies/node-dependencies.mixin.ts";
import { outbox } from "../../mixins/outbox/outbox.mixin.ts";
import { postgres } from "../../mixins/postgres/postgres.mixin.ts";
import { pruning } from "../../mixins/pruning/pruning.mixin.ts";
import { timer } from "../../mixins/timer/timer.mixin.ts";
import type { IdentityProvider, Sql } from "../../providers/identity/index.ts";
import type { MessageBus } from "../../providers/message-bus/index.ts";
import { deleteAccount } from "./actions/account.ts";
import { createFirstAdmin, listAudit, recordAudit } from "./actions/admin.ts";
import { confirmEmail, undoEmailChange } from "./actions/email-change.ts";
import { beginExport, exportData, exportStatus, readStoredPage } from "./actions/exports.ts";
import {
  createGrpcClient,
  grpcClientKeys,
  listGrpcClients,
  revokeGrpcClient,
} from "./actions/grpc-clients.ts";
import {
  acceptInvitation,
  invite,
  listInvitations,
  resendInvitation,
  withdrawInvitation,
} from "./actions/invitations.ts";
import { changePassword, forgotPassword, resetPassword } from "./actions/passwords.ts";
import { setAvatar, updateProfile } from "./actions/profile.ts";
import { listSessions, refresh, signIn, signOut, signOutEverywhere } from "./actions/sessions.ts";
import { confirm, register, resendCode } from "./actions/sign-up.ts";
import * as users from "./actions/users.ts";
import {
  digestUnder,
  type IdentityDependencies,
  providerOf,
  providerSql,
  toFailure,
} from "./dependencies.ts";
import { canChangeAudit } from "./store/audit.repository.ts";
import { countPendingExports } from "./store/exports.repository.ts";
import { profileById } from "./store/profiles.repository.ts";
import { namesOf } from "./store/users.repository.ts";
import { profileView } from "./use-cases/messages.ts";
import { ownProfileReader } from "./use-cases/own-profile.ts";
import { makeExports } from "./workers/exports.ts";
import { identityRetentions } from "./workers/retention.ts";
import { sweep } from "./workers/sweep.ts";

const SWEEP_INTERVAL_MS = 300_000;
const EXPORT_INTERVAL_MS = 2_000;
const MAX_IP_LENGTH = 45;
const UNSAFE_AUDIT_WARNING =
  "The user of POSTGRES_URL_IDENTITY can change the audit log: give it one that owns no tables (docs/security.md).";

export interface IdentityDeps {
  config: Settings;
  messageBus: MessageBus;
  clock?: Clock;
  /** Stores passwords and sessions. Default: the provider that the settings select. */
  provider?: (sql: Sql) => IdentityProvider;
}

/** Users: their accounts, sessions, profiles, roles and invitations, and the audit log. */
export function identityService(options: IdentityDeps): ServiceSchema {
  const { config, messageBus, clock = systemClock } = options;
  const makeProvider = options.provider ?? providerOf(config, clock);

  const db = postgres({
    url: config.POSTGRES_URL_IDENTITY,
    poolSize: config.POSTGRES_POOL,
    acquireTimeoutMs: config.POSTGRES_ACQUIRE_TIMEOUT_MS,
    requestTimeoutMs: config.REQUEST_TIMEOUT_MS,
    name: "identity",
  });
  const out = outbox({ postgres: db, messageBus, source: "waybill/identity", clock });
  const deps: IdentityDependencies = {
    clock,
    requestTimeoutMs: config.REQUEST_TIMEOUT_MS,
    postgres: db,
    outbox: out,
    provider: makeProvider(providerSql(() => db.db)),
    digest: digestUnder(config.SEAL_SECRET),
    encryptionKeys: { secret: config.SEAL_SECRET, previousSecret: config.SEAL_SECRET_PREVIOUS },
    publicUrl: config.PUBLIC_URL,
  };
  const readOwnProfile = ownProfileReader(deps);

  const inbox = consumer({
    ...{ postgres: db, messageBus, group: "identity", clock, outbox: out },
    handlers: { "audit.recorded": { inTransaction: recordAudit, batch: true } },
  });
  const sweeper = timer({
    name: "identity sweep",
    intervalMs: SWEEP_INTERVAL_MS,
    run: (stopping) => sweep(deps, stopping),
  });
  let broker: ServiceBroker | undefined;
  const exports = timer({
    name: "exports",
    intervalMs: EXPORT_INTERVAL_MS,
    run: async (stopping, logger) => {
      if (broker) await makeExports(deps, broker, logger, stopping);
    },
  });
  const pruner = pruning({
    ...{ postgres: db, clock, keepDeadLettersDays: config.KEEP_DEAD_LETTERS_DAYS },
    retentions: identityRetentions(config),
  });
  const healthChecks = health({
    checks: { postgres: () => db.ping() },
    outbox: out,
    inbox,
    gauges: {
      ...pruner.gauges,
      exports_pending: {
        about: "Exports of users' data that are being made.",
        read: () => countPendingExports(db.db),
      },
    },
  });

  return {
    name: "identity",
    // Customers need these actions while NATS is away; all other actions go over NATS.
    grpc: { proto: "waybill/identity/v1/identity.proto", service: "waybill.identity.v1.Identity" },
    mixins: [
      db.mixin,
      out.mixin,
      inbox.mixin,
      sweeper.mixin,
      exports.mixin,
      pruner.mixin,
      healthChecks.mixin,
    ],

    created(this: Service) {
      broker = this.broker;
    },

    async started(this: Service) {
      // On one machine the process owns the database anyway. In a cluster the audit log is as safe as its user's rights.
      if (config.NODE_ENV === "production" && (await canChangeAudit(db.db)))
        this.logger.warn(UNSAFE_AUDIT_WARNING);
    },

    actions: {
      register: action("identity.register", (ctx) => register(deps, ctx.params, ctx.meta.clientIp)),
      confirm: action("identity.confirm", (ctx) => done(confirm(deps, ctx.params, ctx.meta.clientIp))),
      resendCode: action("identity.resendCode", (ctx) =>
        done(resendCode(deps, ctx.params, ctx.meta.clientIp)),
      ),

      signIn: action("identity.signIn", (ctx) =>
        signIn(deps, ctx.params, clientOf(ctx, ctx.params.userAgent)),
      ),
      refresh: action("identity.refresh", (ctx) =>
        refresh(deps, ctx, ctx.params.refreshToken, clientOf(ctx)),
      ),
      sessions: action("identity.sessions", (ctx) => listSessions(deps, callerOf(ctx))),
      signOut: action("identity.signOut", (ctx) =>
        done(signOut(deps, ctx, callerOf(ctx), ctx.params.sessionId)),
      ),
      signOutEverywhere: action("identity.signOutEverywhere", (ctx) =>
        done(signOutEverywhere(deps, ctx, callerOf(ctx))),
      ),

      forgotPassword: action("identity.forgotPassword", (ctx) =>
        done(forgotPassword(deps, ctx.params, ctx.meta.clientIp)),
      ),
      resetPassword: action("identity.resetPassword", (ctx) => done(resetPassword(deps, ctx, ctx.params))),
      changePassword: action("identity.changePassword", (ctx) =>
        done(changePassword(deps, ctx, callerOf(ctx), ctx.params)),
      ),

      profile: action("identity.profile", async (ctx) => profileView(await readOwnProfile(callerOf(ctx).id))),
      findRole: action("identity.findRole", async (ctx) => {
        callerOf(ctx, "admin");
        const found = await profileById(db.db, ctx.params.userId);
        return found?.emailConfirmed && !found.suspendedAt ? { role: found.role } : {};
      }),
      names: action("identity.names", async (ctx) => {
        callerOf(ctx, "admin");
        return { items: await namesOf(db.db, ctx.params.userIds) };
      }),
      updateProfile: action("identity.updateProfile", (ctx) =>
        updateProfile(deps, callerOf(ctx), ctx.params, ctx.meta.clientIp),
      ),
      confirmEmail: action("identity.confirmEmail", (ctx) =>
        confirmEmail(deps, ctx, callerOf(ctx), ctx.params.code),
      ),
      undoEmailChange: action("identity.undoEmailChange", (ctx) =>
        done(undoEmailChange(deps, ctx, ctx.params)),
      ),
      setAvatar: action("identity.setAvatar", (ctx) => setAvatar(deps, callerOf(ctx), ctx.params.present)),
      deleteAccount: action("identity.deleteAccount", (ctx) =>
        done(deleteAccount(deps, ctx, callerOf(ctx), ctx.params)),
      ),
      exportData: action("identity.exportData", (ctx) =>
        exportData(deps, ctx, callerOf(ctx), () => exports.wake()),
      ),
      beginExport: action("identity.beginExport", (ctx) =>
        beginExport(deps, ctx, callerOf(ctx), () => exports.wake()),
      ),
      exportStatus: action("identity.exportStatus", async (ctx) => exportStatus(deps, callerOf(ctx).id)),
      exportPage: action("identity.exportPage", async (ctx) =>
        readStoredPage(deps, callerOf(ctx), ctx.params),
      ),

      invite: action("identity.invite", (ctx) => invite(deps, ctx, callerOf(ctx, "admin", "partner"))),
      acceptInvitation: action("identity.acceptInvitation", (ctx) => acceptInvitation(deps, ctx, ctx.params)),
      invitations: action("identity.invitations", (ctx) =>
        listInvitations(deps, callerOf(ctx, "admin", "partner"), ctx.params),
      ),
      withdrawInvitation: action("identity.withdrawInvitation", (ctx) =>
        done(withdrawInvitation(deps, ctx, callerOf(ctx, "admin", "partner"))),
      ),
      resendInvitation: action("identity.resendInvitation", (ctx) =>
        resendInvitation(deps, ctx, callerOf(ctx, "admin", "partner")),
      ),

      users: action("identity.users", async (ctx) => {
        callerOf(ctx, "admin");
        return users.listUsers(deps, ctx.params);
      }),
      user: action("identity.user", async (ctx) => {
        callerOf(ctx, "admin");
        return users.getUser(deps, ctx.params.userId);
      }),
      userSessions: action("identity.userSessions", async (ctx) =>
        users.listUserSessions(deps, callerOf(ctx, "admin"), ctx.params.userId),
      ),
      suspendUser: action("identity.suspendUser", async (ctx) =>
        users.suspendUser(deps, ctx, callerOf(ctx, "admin")),
      ),
      restoreUser: action("identity.restoreUser", async (ctx) =>
        users.restoreUser(deps, ctx, callerOf(ctx, "admin")),
      ),
      setRole: action("identity.setRole", async (ctx) =>
        users.setRole(deps, ctx, callerOf(ctx, "admin"), ctx.params),
      ),
      removeRole: action("identity.removeRole", async (ctx) =>
        users.setRole(deps, ctx, callerOf(ctx, "admin"), { role: "customer" }),
      ),
      endUserSession: action("identity.endUserSession", async (ctx) =>
        done(users.endUserSessions(deps, ctx, callerOf(ctx, "admin"))),
      ),
      endUserSessions: action("identity.endUserSessions", async (ctx) =>
        done(users.endUserSessions(deps, ctx, callerOf(ctx, "admin"))),
      ),

      grpcClients: action("identity.grpcClients", async (ctx) => {
        callerOf(ctx, "admin");
        return listGrpcClients(deps, ctx.params);
      }),
      createGrpcClient: action("identity.createGrpcClient", async (ctx) =>
        createGrpcClient(deps, ctx, callerOf(ctx, "admin")),
      ),
      revokeGrpcClient: action("identity.revokeGrpcClient", async (ctx) =>
        revokeGrpcClient(deps, ctx, callerOf(ctx, "admin")),
      ),
      /** For the nodes that serve gRPC; the gateway never publishes it. */
      grpcClientKeys: action("identity.grpcClientKeys", (ctx) => grpcClientKeys(deps, ctx.params), {
        visibility: "public",
      }),

      audit: action("identity.audit", async (ctx) => {
        callerOf(ctx, "admin");
        return listAudit(deps, ctx.params);
      }),
      /** Only for calls on this node: the launcher calls `broker.call("identity.createAdmin", { email, password })`. */
      createAdmin: action("identity.createAdmin", (ctx) => createFirstAdmin(deps, ctx.params), {
        visibility: "protected",
      }),
      jwks: action("identity.jwks", async () => ({ keys: await deps.provider.keys() })),
    },
  };
}

/** For Moleculer's runner and REPL, and for our launcher. */
export default {
  name: "identity",
  mixins: [nodeDependencies("identity", identityService)],
} satisfies ServiceSchema;

type Handler<N extends ActionName> = (ctx: Ctx<Params<N>>) => Promise<Result<N>>;

/** An action that throws only errors of the catalogue: errors of the provider are translated. */
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
