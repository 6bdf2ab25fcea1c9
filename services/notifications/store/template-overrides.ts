import type { ServiceSchema } from "moleculer";
import type { Clock } from "../../../lib/clock.ts";
import { canonicalLanguage } from "../../../lib/language.ts";
import { caching, outdatedEvent } from "../../../mixins/caching/caching.mixin.ts";
import type { Postgres } from "../../../mixins/postgres/postgres.mixin.ts";
import type { Template, TemplateChannel, TemplateEvent } from "../domain/templates/catalogue.ts";
import { builtInOnly, type TemplateOverrideLookup } from "../domain/templates/render.ts";
import { listTemplates } from "./templates.repository.ts";

/** The name that is told when they have changed. */
const CACHE_NAME = "notifications.templates";
/** The message may be lost. */
const CACHE_TTL_MS = 30_000;

export interface TemplateOverrides {
  /** Goes into the service's `mixins`. */
  readonly mixin: Partial<ServiceSchema>;
  /** Those that are switched on now. Never rejects: without a database it is those of before, or none. */
  current(): Promise<TemplateOverrideLookup>;
  /** Has every replica read them anew; for after the commit of a change. */
  outdated(): Promise<void>;
}

interface TemplateOverrideDependencies {
  postgres: Postgres;
  clock: Clock;
  warn(text: string): void;
}

/** The operator's own texts in this process's memory, so that no notification costs a query for them. */
export function templateOverrides({
  postgres,
  clock,
  warn,
}: TemplateOverrideDependencies): TemplateOverrides {
  const cache = caching([CACHE_NAME]);
  let cached: { texts: TemplateOverrideLookup; untilMs: number } | undefined;
  let latest: TemplateOverrideLookup = builtInOnly;
  let changes = 0;

  const reportUnusable: TemplateOverrideLookup["reportUnusable"] = (event, language, channel, reason) =>
    warn(`the own text of ${event} in ${language} by ${channel} was not used: ${reason}`);
  const load = async () => {
    const before = changes;
    const found = await listTemplates(postgres.db);
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
    // What was read while it changed may be what was there before.
    if (changes === before) cached = { texts: latest, untilMs: clock.now() + CACHE_TTL_MS };
    return latest;
  };

  return {
    async current() {
      if (cached && clock.now() < cached.untilMs) return cached.texts;
      try {
        return await load();
      } catch (error) {
        warn(`own texts could not be read, the last known ones are used: ${String(error)}`);
        return latest;
      }
    },
    outdated: () => cache.outdated(),
    mixin: {
      mixins: [cache.mixin],
      events: outdatedEvent(new Set([CACHE_NAME]), () => {
        changes += 1;
        cached = undefined;
      }),
    },
  };
}

/** A tag that was stored before tags were made canonical is found by its canonical spelling. */
function keyOf(event: TemplateEvent, language: string, channel: TemplateChannel): string {
  return `${event} ${canonicalLanguage(language) ?? language} ${channel}`;
}
