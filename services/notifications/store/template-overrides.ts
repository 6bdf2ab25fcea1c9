import type { ServiceSchema } from "moleculer";
import type { Clock } from "../../../lib/clock.ts";
import { canonicalLanguage } from "../../../lib/language.ts";
import { caching, outdatedEvent } from "../../../mixins/caching/caching.mixin.ts";
import type { Postgres } from "../../../mixins/postgres/postgres.mixin.ts";
import type { Template, TemplateChannel, TemplateEvent } from "../domain/templates/catalogue.ts";
import { builtInOnly, type TemplateTexts } from "../domain/templates/render.ts";
import { listTemplates } from "./templates.repository.ts";

/** The name that is told when they have changed. */
const CACHED_AS = "notifications.templates";
/** The message may be lost. */
const KEPT_MS = 30_000;

export interface TemplateOverrides {
  /** Goes into the service's `mixins`. */
  readonly mixin: Partial<ServiceSchema>;
  /** Those that are switched on now. Never rejects: without a database it is those of before, or none. */
  current(): Promise<TemplateTexts>;
  /** Has every replica read them anew; for after the commit of a change. */
  outdated(): Promise<void>;
}

interface KeptDeps {
  postgres: Postgres;
  clock: Clock;
  warn(text: string): void;
}

/** The operator's own texts in this process's memory, so that no notification costs a query for them. */
export function templateOverrides({ postgres, clock, warn }: KeptDeps): TemplateOverrides {
  const cache = caching([CACHED_AS]);
  let kept: { texts: TemplateTexts; untilMs: number } | undefined;
  let latest: TemplateTexts = builtInOnly;
  let changes = 0;

  const broken: TemplateTexts["broken"] = (event, language, channel, why) =>
    warn(`the own text of ${event} in ${language} by ${channel} was not used: ${why}`);
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
    latest = { find: (event, language, channel) => byKey.get(keyOf(event, language, channel)), broken };
    // What was read while it changed may be what was there before.
    if (changes === before) kept = { texts: latest, untilMs: clock.now() + KEPT_MS };
    return latest;
  };

  return {
    async current() {
      if (kept && clock.now() < kept.untilMs) return kept.texts;
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
      events: outdatedEvent(new Set([CACHED_AS]), () => {
        changes += 1;
        kept = undefined;
      }),
    },
  };
}

/** A tag that was stored before tags were made canonical is found by its canonical spelling. */
function keyOf(event: TemplateEvent, language: string, channel: TemplateChannel): string {
  return `${event} ${canonicalLanguage(language) ?? language} ${channel}`;
}
