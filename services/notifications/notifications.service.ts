import type { ServiceSchema } from "moleculer";
import { implement } from "../../contracts/actions.ts";
import { circuitBreakers } from "../../lib/circuit-breaker.ts";
import { type Clock, isoTime, systemClock } from "../../lib/clock.ts";
import { deliveryTokens } from "../../lib/delivery-tokens.ts";
import { idTimeMs } from "../../lib/ids.ts";
import { keyedLimit } from "../../lib/keyed-limit.ts";
import type { ParsedSettings, Settings } from "../../lib/settings/settings.ts";
import { callerOf } from "../../mixins/caller/caller.ts";
import { consumer } from "../../mixins/consumer/consumer.mixin.ts";
import { documentGauges } from "../../mixins/documents/gauges.ts";
import { documentStoreLocation } from "../../mixins/documents/store-location.ts";
import { health, leftOut } from "../../mixins/health/health.mixin.ts";
import { nodeDependencies } from "../../mixins/node-dependencies/node-dependencies.mixin.ts";
import { outbox } from "../../mixins/outbox/outbox.mixin.ts";
import { postgres } from "../../mixins/postgres/postgres.mixin.ts";
import { pruning } from "../../mixins/pruning/pruning.mixin.ts";
import { timer } from "../../mixins/timer/timer.mixin.ts";
import { type Mailer, mailer } from "../../providers/email/index.ts";
import type { MessageBus } from "../../providers/message-bus/index.ts";
import { type PushProvider, pushProviders } from "../../providers/push/index.ts";
import { type AgentDeps, createAgent, listAgents, updateAgent } from "./actions/agents.ts";
import { addDevice, listDevices, removeDevice } from "./actions/devices.ts";
import { exportNotifications } from "./actions/exports.ts";
import { getPreferences, type PreferencesDeps, setPreferences } from "./actions/preferences.ts";
import { createTemplate, listTemplates, type TemplateDeps, updateTemplate } from "./actions/templates.ts";
import type { MailDesign } from "./domain/templates/mail.ts";
import { listHistory, notificationDocuments } from "./projections/history.ts";
import { countDeferred } from "./store/deferred.repository.ts";
import { devicesOf } from "./store/devices.repository.ts";
import { countOverdueReminders } from "./store/reminders.repository.ts";
import { templateOverrides } from "./use-cases/template-overrides.ts";
import { queueDue } from "./workers/deferred.ts";
import { PUSH_BREAKER, PUSH_CONCURRENCY } from "./workers/delivery.ts";
import { handlers } from "./workers/event-handlers.ts";
import { queueReminders } from "./workers/reminders.ts";
import { notificationRetentions } from "./workers/retention.ts";
import type { SendingDeps } from "./workers/sending.ts";

/** Maximum delay between the end of a user's quiet hours, or the time of a reminder, and the sending. */
const DUE_SWEEP_MS = 5_000;
/** A reminder that is late by more than this is not sent by any replica. */
const REMINDER_LATE_MS = 60_000;

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
export function notificationsService(options: NotificationsDeps): ServiceSchema {
  const { config, messageBus, clock = systemClock } = options;
  const { push = pushProviders(config), mailer: mails = mailer(config) } = options;

  const db = postgres({
    url: config.POSTGRES_URL_NOTIFICATIONS,
    poolSize: config.POSTGRES_POOL,
    acquireTimeoutMs: config.POSTGRES_ACQUIRE_TIMEOUT_MS,
    requestTimeoutMs: config.REQUEST_TIMEOUT_MS,
    name: "notifications",
  });
  const out = outbox({ postgres: db, messageBus, source: "waybill/notifications", clock });
  const history = notificationDocuments(db, documentStoreLocation(config, config.POSTGRES_URL_NOTIFICATIONS));
  const overrides = templateOverrides({ postgres: db, clock });
  const deps = {
    clock,
    postgres: db,
    outbox: out,
    documents: history,
    templateOverrides: overrides,
    keys: { secret: config.SEAL_SECRET, previousSecret: config.SEAL_SECRET_PREVIOUS },
    push,
    mailer: mails,
    mailDesign: mailDesign(config),
    breakers: circuitBreakers(clock, PUSH_BREAKER),
    pushLimit: keyedLimit(PUSH_CONCURRENCY),
    attemptCounts: new Map<string, number>(),
    wakeDeferred: () => deferred.wake(),
  } satisfies SendingDeps & PreferencesDeps & AgentDeps & TemplateDeps;

  const deferred = timer({
    name: "enqueueing deferred notifications",
    intervalMs: options.dueSweepMs ?? DUE_SWEEP_MS,
    run: (stopping) => queueDue(deps, stopping),
  });
  const reminders = timer({
    name: "enqueueing reminders",
    intervalMs: options.dueSweepMs ?? DUE_SWEEP_MS,
    run: (stopping) => queueReminders(deps, stopping),
  });
  const inbox = consumer({
    ...{ postgres: db, messageBus, group: "notifications", clock, outbox: out },
    handlers: handlers(deps),
  });
  const pruner = pruning({
    ...{ postgres: db, clock, keepDeadLettersDays: config.KEEP_DEAD_LETTERS_DAYS },
    retentions: notificationRetentions(config, history),
  });
  const healthChecks = health({
    checks: { postgres: () => db.ping(), documents: () => history.ready() },
    outbox: out,
    inbox,
    degradations: { push: () => leftOut("skipped after failures", deps.breakers.open()) },
    gauges: {
      ...pruner.gauges,
      ...documentGauges([history], inbox),
      notifications_deferred: {
        about: "Notifications that wait for the end of the recipient's quiet hours.",
        read: () => countDeferred(db.db),
      },
      notifications_reminders_overdue: {
        about:
          "Paid orders whose reminder to the partner's staff is more than a minute late: the sweep does not run.",
        read: () => countOverdueReminders(db.db, REMINDER_LATE_MS),
      },
      push_attempts_total: {
        about: "Push attempts, by provider and outcome.",
        label: "result",
        read: () => Object.fromEntries(deps.attemptCounts),
      },
    },
  });

  return {
    name: "notifications",
    mixins: [
      db.mixin,
      history.mixin,
      out.mixin,
      inbox.mixin,
      overrides.mixin,
      deferred.mixin,
      reminders.mixin,
      pruner.mixin,
      healthChecks.mixin,
    ],

    actions: {
      addDevice: implement("notifications.addDevice", (ctx) => addDevice(deps, ctx)),
      devices: implement("notifications.devices", (ctx) => listDevices(deps, ctx)),
      devicesOf: implement("notifications.devicesOf", async (ctx) => {
        callerOf(ctx, "admin");
        return { items: await devicesOf(db.db, ctx.params.userId) };
      }),
      removeDevice: implement("notifications.removeDevice", (ctx) => removeDevice(deps, ctx)),

      preferences: implement("notifications.preferences", (ctx) => getPreferences(deps, ctx)),
      setPreferences: implement("notifications.setPreferences", (ctx) => setPreferences(deps, ctx)),
      // For Identity: not available through the gateway.
      exportPage: implement("notifications.exportPage", (ctx) => exportNotifications(deps, ctx), {
        visibility: "public",
      }),
      list: implement("notifications.list", async (ctx) => listHistory(deps, callerOf(ctx).id, ctx.params)),

      agents: implement("notifications.agents", (ctx) => listAgents(deps, ctx)),
      createAgent: implement("notifications.createAgent", (ctx) => createAgent(deps, ctx)),
      updateAgent: implement("notifications.updateAgent", (ctx) => updateAgent(deps, ctx)),

      templates: implement("notifications.templates", (ctx) => listTemplates(deps, ctx)),
      createTemplate: implement("notifications.createTemplate", (ctx) => createTemplate(deps, ctx)),
      updateTemplate: implement("notifications.updateTemplate", (ctx) => updateTemplate(deps, ctx)),
    },

    async stopped() {
      mails.close();
      await Promise.all([...push.values()].map((provider) => provider.close?.()));
    },
  };
}

function mailDesign(config: Settings): MailDesign {
  const { HANDOVER_SECRET: secret } = config as ParsedSettings;
  const tokens = secret === undefined ? undefined : deliveryTokens(secret);
  return {
    brand: { name: config.MAIL_BRAND_NAME, color: config.MAIL_BRAND_COLOR, logoUrl: config.MAIL_LOGO_URL },
    pages: { appUrl: config.APP_URL, publicUrl: config.PUBLIC_URL },
    ...(tokens && {
      // Messages do not contain when the order was made. Its id is a few minutes older.
      trackingTokenOf: (orderId) => tokens.trackingTokenOf(orderId, isoTime(idTimeMs(orderId))),
      ...(config.MAIL_PIN && { pinOf: tokens.pinOf }),
    }),
  };
}

/** For Moleculer's runner and REPL, and for our launcher. */
export default {
  name: "notifications",
  mixins: [nodeDependencies("notifications", notificationsService)],
} satisfies ServiceSchema;
