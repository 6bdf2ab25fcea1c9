import { invalidField } from "../../../contracts/errors.ts";
import { type GuardOptions, urlTrouble } from "../../../lib/net/guarded-request.ts";

/** Ignores an absent or empty URL. @throws VALIDATION_ERROR for a URL that the platform must not call */
export function refuseBadUrl(guard: GuardOptions, field: string, url: string | undefined): void {
  const trouble = url ? urlTrouble(url, guard) : undefined;
  if (trouble) throw invalidField(field, "url", `The URL ${trouble}.`);
}
