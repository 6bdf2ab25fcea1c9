import type { Alias } from "../../../mixins/transporter/moleculer-internals.ts";
import { accountRoutes } from "./account.ts";
import { callbackRoutes } from "./callbacks.ts";
import { catalogueRoutes } from "./catalogue.ts";
import { notificationRoutes } from "./notifications.ts";
import { operationRoutes } from "./operations.ts";
import { orderRoutes } from "./orders.ts";
import type { Route } from "./route.ts";
import { userRoutes } from "./users.ts";

export const BASE_PATH = "/api/v1";

/** All operations of the REST API. */
export const routes: readonly Route[] = [
  ...accountRoutes,
  ...catalogueRoutes,
  ...orderRoutes,
  ...notificationRoutes,
  ...callbackRoutes,
  ...userRoutes,
  ...operationRoutes,
];

/** The part of an alias that the router reads. */
type RoutedAlias = Pick<Alias, "method" | "fullPath" | "route">;

export interface Match<A> {
  readonly alias: A;
  /** The values of the path's placeholders, decoded. */
  readonly params: Record<string, string>;
}

export interface Router<A> {
  /** The methods that a path allows, sorted; empty for an unknown path. One slash may follow the path. */
  methodsOf(path: string): readonly string[];
  /** @param path percent-encoded and known to be decodable, without the slash that may follow it */
  match(method: string, path: string): Match<A> | undefined;
}

/** All aliases of one path, by method. */
interface Resource<A> {
  readonly byMethod: Map<string, { alias: A; placeholders: readonly Placeholder[] }>;
  allowed: readonly string[];
}

interface Placeholder {
  readonly name: string;
  /** The index of its segment in the path. */
  readonly at: number;
}

/** Paths with placeholders, by segment. */
interface Node<A> {
  readonly literals: Map<string, Node<A>>;
  placeholder?: Node<A>;
  resource?: Resource<A>;
}

/**
 * Finds the alias of a request. moleculer-web tries the regular expressions of all aliases in turn; this router looks a
 * path without placeholders up at once, and any other segment by segment. Where a literal segment (`/orders/check`) and a
 * placeholder (`/orders/{order_id}`) fit, the literal one wins. GET includes HEAD, and every path has OPTIONS.
 * @throws Error for a page with placeholders
 */
export function routerOf<A extends RoutedAlias>(aliases: readonly A[]): Router<A> {
  const literals = new Map<string, Resource<A>>();
  /** Paths of any case, in lower case. */
  const pages = new Map<string, Resource<A>>();
  const root = newNode<A>();

  const resourceAt = (segments: readonly string[], isSensitive: boolean): Resource<A> => {
    const path = segments.join("/");
    if (!segments.some(isPlaceholder)) {
      return isSensitive
        ? made(literals, path, newResource<A>)
        : made(pages, path.toLowerCase(), newResource<A>);
    }
    if (!isSensitive) throw new Error(`${path}: a page has no placeholders`);
    const leaf = segments.reduce((node, segment) => {
      if (!isPlaceholder(segment)) return made(node.literals, segment, newNode<A>);
      node.placeholder ??= newNode();
      return node.placeholder;
    }, root);
    leaf.resource ??= newResource();
    return leaf.resource;
  };
  for (const alias of aliases) {
    const segments = alias.fullPath.split("/");
    const resource = resourceAt(segments, alias.route.opts.pathToRegexpOptions?.sensitive === true);
    const placeholders = segments.flatMap((segment, at) =>
      isPlaceholder(segment) ? [{ name: segment.slice(1), at }] : [],
    );
    if (!resource.byMethod.has(alias.method)) resource.byMethod.set(alias.method, { alias, placeholders });
    const methods = [...resource.byMethod.keys()];
    resource.allowed = [...methods, ...(methods.includes("GET") ? ["HEAD"] : []), "OPTIONS"].sort();
  }

  const resourceOf = (path: string): Resource<A> | undefined =>
    literals.get(path) ?? resourceUnder(root, path.split("/"), 0) ?? pages.get(path.toLowerCase());

  return {
    methodsOf: (path) => resourceOf(withoutSlash(path))?.allowed ?? [],
    match(method, path) {
      const found = resourceOf(path)?.byMethod.get(method);
      if (!found) return undefined;
      const { alias, placeholders } = found;
      if (placeholders.length === 0) return { alias, params: {} };
      const segments = path.split("/");
      const values = placeholders.map(
        ({ name, at }) => [name, decodeURIComponent(segments[at] as string)] as const,
      );
      return { alias, params: Object.fromEntries(values) };
    },
  };
}

function resourceUnder<A>(node: Node<A>, segments: readonly string[], at: number): Resource<A> | undefined {
  const segment = segments[at];
  if (segment === undefined) return node.resource;
  const literal = node.literals.get(segment);
  const found = literal && resourceUnder(literal, segments, at + 1);
  if (found || !node.placeholder || segment === "") return found;
  return resourceUnder(node.placeholder, segments, at + 1);
}

function newNode<A>(): Node<A> {
  return { literals: new Map() };
}

function newResource<A>(): Resource<A> {
  return { byMethod: new Map(), allowed: [] };
}

function made<T>(map: Map<string, T>, key: string, make: () => T): T {
  const known = map.get(key) ?? make();
  map.set(key, known);
  return known;
}

function isPlaceholder(segment: string): boolean {
  return segment.startsWith(":");
}

function withoutSlash(path: string): string {
  return path.length > 1 && path.endsWith("/") ? path.slice(0, -1) : path;
}
