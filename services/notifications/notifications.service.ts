import type { ServiceSchema } from "moleculer";
import { implement } from "../../contracts/actions.ts";
import { fail } from "../../contracts/errors.ts";
import { circuitBreakers } from "../../lib/circuit-breaker.ts";
import { type Clock, systemClock } from "../../lib/clock.ts";
import { keyedLimit } from "../../lib/keyed-limit.ts";
import type { Settings } from "../../lib/settings/settings.ts";
import { callerOf } from "../../mixins/caller/caller.ts";
import { consumer } from "../../mixins/consumer/consumer.mixin.ts";
import { documentGauges, documentStore } from "../../mixins/documents/store-of-settings.ts";
import { health, leftOut } from "../../mixins/health/health.mixin.ts";
import { nodeDependencies } from "../../mixins/node-dependencies/node-dependencies.mixin.ts";
import { audit, fieldsOf } from "../../mixins/outbox/audit.ts";
import { outbox } from "../../mixins/outbox/outbox.mixin.ts";
import { idempotent } from "../../mixins/postgres/idempotency.ts";
import { postgres } from "../../mixins/postgres/postgres.mixin.ts";
import { pruning } from "../../mixins/pruning/pruning.mixin.ts";
import { timer } from "../../mixins/timer/timer.mixin.ts";
import { type Mailer, mailer } from "../../providers/email/index.ts";
import type { MessageBus } from "../../providers/message-bus/index.ts";
import { type PushProvider, pushProviders } from "../../providers/push/index.ts";
import { createAgent, updateAgent } from "./actions/agents.ts";
import { setPreferences } from "./actions/preferences.ts";
import { createTemplate, templateKey, templatesPage, updateTemplate } from "./actions/templates.ts";
import { listHistory, notificationDocuments } from "./projections/history.ts";
import { listAgents } from "./store/agents.repository.ts";
import { countDeferred } from "./store/deferred.repository.ts";
import { hasEnded, listDevices, removeDevice, saveToken } from "./store/devices.repository.ts";
import { isErased, preferencesOf } from "./store/recipients.repository.ts";
import { templateOverrides } from "./store/template-overrides.ts";
import { queueDue } from "./workers/deferred.ts";
import { PUSH_BREAKER, PUSH_CONCURRENCY } from "./workers/delivery.ts";
import { handlers } from "./workers/event-handlers.ts";
import { notificationRetentions } from "./workers/retention.ts";
import type { SendingDeps } from "./workers/sending.ts";

/** Maximum delay between the end of a user's quiet hours and the sending of deferred notifications. */
const DUE_SWEEP_MS = 5_000;

export interface NotificationsDeps {
  config: Settings;
  messageBus: MessageBus;
  clock?: Clock;
  /** Default: the providers in the settings. */
  push?: ReadonlyMap<string, PushProvider>;
  mailer?: Mailer;
  dueSweepMs?: number;
}

/** Sends notifications to users: by push, and by e-mail if no device accepts the push. */
export function notificationsService({ config, messageBus, ...deps }: NotificationsDeps): ServiceSchema {
  const clock = deps.clock ?? systemClock;
  const db = postgres({
    url: config.POSTGRES_URL_NOTIFICATIONS,
    poolSize: config.POSTGRES_POOL,
    acquireTimeoutMs: config.POSTGRES_ACQUIRE_TIMEOUT_MS,
    name: "notifications",
  });
  const out = outbox({ postgres: db, messageBus, source: "waybill/notifications", clock });
  const history = notificationDocuments(db, documentStore(config, config.POSTGRES_URL_NOTIFICATIONS));
  const push = deps.push ?? pushProviders(config);
  const mail = deps.mailer ?? mailer(config);
  const keys = { secret: config.SEAL_SECRET, previousSecret: config.SEAL_SECRET_PREVIOUS };
  const texts = templateOverrides({ postgres: db, clock, warn: (text) => sending.warn(text) });
  const sending: SendingDeps = {
    postgres: db,
    outbox: out,
    documents: history,
    templateOverrides: texts,
    keys,
    push,
    mailer: mail,
    breakers: circuitBreakers(clock, PUSH_BREAKER),
    pushLimit: keyedLimit(PUSH_CONCURRENCY),
    attemptCounts: new Map(),
    clock,
    warn: () => undefined,
  };
  const inbox = consumer({
    postgres: db,
    messageBus,
    group: "notifications",
    outbox: out,
    handlers: handlers(sending),
    clock,
  });
  const dueSweep = timer({
    name: "enqueueing deferred notifications",
    intervalMs: deps.dueSweepMs ?? DUE_SWEEP_MS,
    run: (stopping) => queueDue(sending, stopping),
  });

  const pruner = pruning({
    ...{ postgres: db, clock, keepDeadLettersDays: config.KEEP_DEAD_LETTERS_DAYS },
    retentions: notificationRetentions(config, history),
  });

  return {
    name: "notifications",
    mixins: [
      db.mixin,
      history.mixin,
      out.mixin,
      inbox.mixin,
      texts.mixin,
      dueSweep.mixin,
      pruner.mixin,
      health({
        checks: { postgres: () => db.ping(), documents: () => history.ready() },
        outbox: out,
        inbox,
        degradations: {
          push: () => leftOut("skipped after failures", sending.breakers.open()),
        },
        gauges: {
          ...documentGauges([history], inbox),
          notifications_deferred: {
            about: "Notifications that wait for the end of the recipient's quiet hours.",
            read: () => countDeferred(db.db),
          },
          push_attempts_total: {
            about: "Push attempts, by provider and outcome.",
            label: "result",
            read: () => Object.fromEntries(sending.attemptCounts),
          },
        },
      }).mixin,
    ],

    actions: {
      addDevice: implement("notifications.addDevice", async (ctx) => {
        const { id: userId, sessionId } = callerOf(ctx);
        return idempotent(db, ctx, "devices.add", async (trx) => {
          // A node that has not received the sign-out yet still accepts the token.
          if ((await hasEnded(trx, { userId, sessionId })) || (await isErased(trx, userId)))
            throw fail("SESSION_REVOKED", "Sign in again.");
          const device = await saveToken(trx, { userId, sessionId }, ctx.params);
          if (!device) throw fail("NOT_FOUND", "There is no such device of yours.");
          return device;
        });
      }),
      devices: implement("notifications.devices", async (ctx) => ({
        items: await listDevices(db.db, callerOf(ctx).id),
      })),
      removeDevice: implement("notifications.removeDevice", async (ctx) => {
        if (!(await removeDevice(db.db, callerOf(ctx).id, ctx.params.deviceId))) throw fail("NOT_FOUND");
        return {};
      }),
      preferences: implement("notifications.preferences", async (ctx) =>
        preferencesOf(db.db, callerOf(ctx).id),
      ),
      setPreferences: implement("notifications.setPreferences", async (ctx) => {
        await setPreferences({ postgres: db, clock }, callerOf(ctx).id, ctx.params);
        dueSweep.wake();
        return ctx.params;
      }),
      list: implement("notifications.list", async (ctx) =>
        listHistory({ documents: history }, callerOf(ctx).id, ctx.params),
      ),

      agents: implement("notifications.agents", async (ctx) => {
        callerOf(ctx, "admin");
        return { items: await listAgents(db.db) };
      }),
      createAgent: implement("notifications.createAgent", async (ctx) => {
        callerOf(ctx, "admin");
        return idempotent(db, ctx, "agents.create", async (trx) => {
          const agent = await createAgent(trx, { push, keys }, ctx.params);
          await audit(out, trx, ctx, agent.id);
          return agent;
        });
      }),
      updateAgent: implement("notifications.updateAgent", async (ctx) => {
        callerOf(ctx, "admin");
        return db.transact(async (trx) => {
          const agent = await updateAgent(trx, { push, keys }, ctx.params);
          await audit(out, trx, ctx, agent.id, fieldsOf(ctx.params));
          return agent;
        });
      }),

      templates: implement("notifications.templates", async (ctx) => {
        callerOf(ctx, "admin");
        return templatesPage(db.db, ctx.params);
      }),
      createTemplate: implement("notifications.createTemplate", async (ctx) => {
        callerOf(ctx, "admin");
        const template = await idempotent(db, ctx, "templates.create", async (trx) => {
          const created = await createTemplate(trx, ctx.params);
          await audit(out, trx, ctx, created.id, templateKey(created));
          return created;
        });
        await texts.outdated();
        return template;
      }),
      updateTemplate: implement("notifications.updateTemplate", async (ctx) => {
        callerOf(ctx, "admin");
        const template = await db.transact(async (trx) => {
          const changed = await updateTemplate(trx, ctx.params);
          await audit(out, trx, ctx, changed.id, `${templateKey(changed)}: ${fieldsOf(ctx.params)}`);
          return changed;
        });
        await texts.outdated();
        return template;
      }),
    },

    started() {
      sending.warn = (text) => this.logger.warn(text);
    },
    async stopped() {
      mail.close();
      await Promise.all([...push.values()].map((provider) => provider.close?.()));
    },
  };
}

/** For Moleculer's runner and REPL, and for our launcher. */
export default {
  name: "notifications",
  mixins: [nodeDependencies("notifications", notificationsService)],
} satisfies ServiceSchema;
