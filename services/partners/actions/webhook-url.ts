import { invalidField } from "../../../contracts/errors.ts";
import { type GuardOptions, urlTrouble } from "../../../lib/net/guarded-request.ts";

/** @throws VALIDATION_ERROR for a URL that we would not call; absent and empty ones are none */
export function refuseBadUrl(guard: GuardOptions, field: string, url: string | undefined): void {
  const trouble = url ? urlTrouble(url, guard) : undefined;
  if (trouble) throw invalidField(field, "url", `The URL ${trouble}.`);
}
