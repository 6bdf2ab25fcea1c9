import type { Service, ServiceSchema } from "moleculer";
import type { Clock } from "../../../lib/clock.ts";
import { canonicalLanguage } from "../../../lib/language.ts";
import type { Logger } from "../../../lib/logger.ts";
import { caching, outdatedEvent } from "../../../mixins/caching/caching.mixin.ts";
import type { Postgres } from "../../../mixins/postgres/postgres.mixin.ts";
import type { Template, TemplateChannel, TemplateEvent } from "../domain/templates/catalogue.ts";
import { builtInOnly, type TemplateOverrideLookup } from "../domain/templates/render.ts";
import { allTemplates } from "../store/templates.repository.ts";

/** The name in the event that invalidates this cache. */
const CACHE_NAME = "notifications.templates";
/** The invalidation event may be lost, so entries also expire. */
const CACHE_TTL_MS = 30_000;

export interface TemplateOverrides {
  /** Add it to the service's `mixins`. */
  readonly mixin: Partial<ServiceSchema>;
  /** The enabled overrides. Never rejects: if the database is unavailable, it returns the last ones read, or none. */
  current(): Promise<TemplateOverrideLookup>;
  /** Invalidates the cache of every replica. Call it after the commit of a change. */
  outdated(): Promise<void>;
}

interface TemplateOverrideDependencies {
  postgres: Postgres;
  clock: Clock;
}

/** Caches the operator's template overrides in the process, so that notifications need no query for them. */
export function templateOverrides({ postgres, clock }: TemplateOverrideDependencies): TemplateOverrides {
  const cache = caching([CACHE_NAME]);
  let cached: { texts: TemplateOverrideLookup; untilMs: number } | undefined;
  let latest: TemplateOverrideLookup = builtInOnly;
  let changes = 0;
  let logger: Logger;

  const reportUnusable: TemplateOverrideLookup["reportUnusable"] = (event, language, channel, reason) =>
    logger.warn(`The template override for ${event} in ${language} by ${channel} was not used: ${reason}`);
  const load = async () => {
    const changesBefore = changes;
    const found = await allTemplates(postgres.db);
    const byKey = new Map<string, Template>(
      found
        .filter(({ enabled }) => enabled)
        .map(({ event, language, channel, title, body }) => [
          keyOf(event, language, channel),
          { title, body },
        ]),
    );
    latest = {
      find: (event, language, channel) => byKey.get(keyOf(event, language, channel)),
      reportUnusable,
    };
    // After a change during the query the result may be outdated, so it is not cached.
    if (changes === changesBefore) cached = { texts: latest, untilMs: clock.now() + CACHE_TTL_MS };
    return latest;
  };

  return {
    async current() {
      if (cached && clock.now() < cached.untilMs) return cached.texts;
      try {
        return await load();
      } catch (error) {
        logger.warn(
          `The template overrides could not be read; the last ones read are used: ${String(error)}`,
        );
        return latest;
      }
    },
    outdated: () => cache.outdated(),
    mixin: {
      mixins: [cache.mixin],
      created(this: Service) {
        logger = this.logger;
      },
      events: outdatedEvent(new Set([CACHE_NAME]), () => {
        changes += 1;
        cached = undefined;
      }),
    },
  };
}

/** Rows of older releases may have a language tag in another spelling. */
function keyOf(event: TemplateEvent, language: string, channel: TemplateChannel): string {
  return `${event} ${canonicalLanguage(language) ?? language} ${channel}`;
}
