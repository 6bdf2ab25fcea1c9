import { fail } from "../../../contracts/errors.ts";

const MAX_PARAMETERS = 100;
/** Names that would reach the prototype of an object. */
export const FORBIDDEN_NAMES: ReadonlySet<string> = new Set(["__proto__", "constructor", "prototype"]);

export interface Target {
  /** Still percent-encoded. */
  path: string;
  query: Record<string, string>;
}

/**
 * Parses the target of a request.
 * @throws BAD_REQUEST unless the target is an absolute path in ASCII; for broken percent-encoding or UTF-8, NUL, too
 * many or repeated parameters, and names that reach a prototype
 */
export function targetOf(url: string): Target {
  if (!/^\/[\x21-\x7e]*$/.test(url))
    throw fail("BAD_REQUEST", "The target is not an absolute path in ASCII.");
  const queryStart = url.indexOf("?");
  const path = queryStart < 0 ? url : url.slice(0, queryStart);
  percentDecode(path);
  return { path, query: queryStart < 0 ? {} : queryOf(url.slice(queryStart + 1)) };
}

function queryOf(text: string): Record<string, string> {
  const pairs = text.split("&").filter((pair) => pair !== "");
  if (pairs.length > MAX_PARAMETERS) throw fail("BAD_REQUEST", `More than ${MAX_PARAMETERS} parameters.`);
  const query: Record<string, string> = {};
  for (const pair of pairs) {
    const equals = pair.indexOf("=");
    const name = percentDecode(encodePlus(equals < 0 ? pair : pair.slice(0, equals)));
    if (FORBIDDEN_NAMES.has(name)) throw fail("BAD_REQUEST", "A parameter has a forbidden name.");
    if (Object.hasOwn(query, name)) throw fail("BAD_REQUEST", "A parameter comes twice.");
    query[name] = equals < 0 ? "" : percentDecode(encodePlus(pair.slice(equals + 1)));
  }
  return query;
}

function encodePlus(text: string): string {
  return text.replaceAll("+", "%20");
}

function percentDecode(text: string): string {
  if (!text.includes("%")) return text;
  let result: string;
  try {
    result = decodeURIComponent(text);
  } catch {
    throw fail("BAD_REQUEST", "The percent-encoding is broken.");
  }
  if (result.includes("\0")) throw fail("BAD_REQUEST", "The target holds a NUL.");
  return result;
}
