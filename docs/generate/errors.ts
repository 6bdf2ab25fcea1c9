import { entryOf, errorCatalogue } from "../../contracts/errors.ts";
import { generated, table } from "./markdown.ts";

/** docs/errors.md: every code that an answer of the API may carry. */
export function errorsPage(): string {
  const rows = Object.keys(errorCatalogue).map((type) => {
    const entry = entryOf(type);
    const code = type.toLowerCase();
    return [
      `<a id="${code}"></a>\`${code}\``,
      String(entry?.status),
      entry?.title ?? "",
      entry?.retryable ? "yes" : "",
    ];
  });
  const intro = [
    "Every error is an `application/problem+json` document (RFC 9457). Programs branch on `code`, which never",
    "changes once released; `detail` says what happened this time, `errors[]` names the wrong fields, and",
    "`trace_id` finds the request in the traces and logs. *Repeat* marks errors after which the very same request",
    "may succeed a moment later. Answers with status 429 or 503 carry `Retry-After`, no other does.",
  ].join("\n");
  return `${generated("Errors", intro)}\n${table(["code", "status", "meaning", "repeat"], rows)}\n`;
}
