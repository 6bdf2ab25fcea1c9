import { fail } from "../../../contracts/errors.ts";

const MAX_PARAMETERS = 100;
/** Names by which a value would reach an object's prototype. */
export const FORBIDDEN_NAMES: ReadonlySet<string> = new Set(["__proto__", "constructor", "prototype"]);

export interface Target {
  /** Still percent-encoded. */
  path: string;
  query: Record<string, string>;
}

/**
 * Takes the target of a request apart.
 * @throws BAD_REQUEST for anything but an absolute path in ASCII, for broken percent-encoding or UTF-8, control
 * characters, too many or repeated parameters, and names that reach a prototype
 */
export function targetOf(url: string): Target {
  if (!/^\/[\x21-\x7e]*$/.test(url))
    throw fail("BAD_REQUEST", "The target is not an absolute path in ASCII.");
  const mark = url.indexOf("?");
  const path = mark < 0 ? url : url.slice(0, mark);
  decoded(path);
  return { path, query: mark < 0 ? {} : queryOf(url.slice(mark + 1)) };
}

function queryOf(text: string): Record<string, string> {
  const pairs = text.split("&").filter((pair) => pair !== "");
  if (pairs.length > MAX_PARAMETERS) throw fail("BAD_REQUEST", `More than ${MAX_PARAMETERS} parameters.`);
  const query: Record<string, string> = {};
  for (const pair of pairs) {
    const mark = pair.indexOf("=");
    const name = decoded(plain(mark < 0 ? pair : pair.slice(0, mark)));
    if (FORBIDDEN_NAMES.has(name)) throw fail("BAD_REQUEST", "A parameter has a forbidden name.");
    if (Object.hasOwn(query, name)) throw fail("BAD_REQUEST", "A parameter comes twice.");
    query[name] = mark < 0 ? "" : decoded(plain(pair.slice(mark + 1)));
  }
  return query;
}

function plain(text: string): string {
  return text.replaceAll("+", "%20");
}

function decoded(text: string): string {
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
