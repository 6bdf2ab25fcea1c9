import { placeholders } from "../pipeline/endpoint.ts";
import { BASE_PATH } from "../routes/index.ts";

/** The methods that a path allows, sorted; empty for an unknown path. */
export type AllowedMethods = (path: string) => readonly string[];

interface KnownPath {
  method: string;
  path: string;
  /** Default: the base path of the API. */
  base?: string;
}

/**
 * Indexes the methods of every path of the route tables and of the pages. GET adds HEAD, and every path has OPTIONS.
 * Where a literal path (`/orders/check`) and a placeholder (`/orders/{order_id}`) match, the literal path wins.
 * @param pages routes of moleculer-web that serve pages
 */
export function allowedMethods(
  routes: readonly KnownPath[],
  pages: readonly { path: string; aliases: object }[],
): AllowedMethods {
  const patterns = [...routes, ...pagePaths(pages)].map(({ method, path, base = BASE_PATH }) => ({
    method,
    placeholderCount: placeholders(path).length,
    pattern: new RegExp(`^${base}${path.replace(/\{\w+\}/g, "[^/]+")}/?$`),
  }));
  return (path) => {
    const matching = patterns.filter(({ pattern }) => pattern.test(path));
    const fewest = Math.min(...matching.map(({ placeholderCount }) => placeholderCount));
    const methods = matching
      .filter(({ placeholderCount }) => placeholderCount === fewest)
      .map(({ method }) => method);
    if (methods.length === 0) return [];
    return [...methods, ...(methods.includes("GET") ? ["HEAD"] : []), "OPTIONS"].sort();
  };
}

function pagePaths(pages: readonly { path: string; aliases: object }[]): KnownPath[] {
  const escaped = (path: string) => path.replace(/\/$/, "").replaceAll(".", "\\.");
  return pages.flatMap(({ path: base, aliases }) =>
    Object.keys(aliases).map((alias) => {
      const [method = "", path = ""] = alias.split(" ");
      return { method, path: escaped(path), base: escaped(base) };
    }),
  );
}
