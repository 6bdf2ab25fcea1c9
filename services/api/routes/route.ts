import type { ErrorType } from "../../../contracts/errors.ts";
import type { Role } from "../../../contracts/meta.ts";
import type { Rule } from "../../../contracts/schema.ts";
import type { Routable, RoutableParams } from "../actions/contract.ts";

export type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";

/**
 * `public`: nobody signs in; `signed`: a machine signs the body; `any`: whoever is signed in. Of a list, `partner` means
 * all staff of a partner, its admins among them, and `partner_admin` its admins alone.
 */
export type Access = "public" | "signed" | "any" | readonly (Role | "partner_admin")[];

/** Groups the operations on the documentation page. */
export type Tag =
  | "Account"
  | "Catalogue"
  | "Partner administration"
  | "Checkout"
  | "Orders"
  | "Delivery"
  | "Notifications"
  | "Callbacks"
  | "Operations";

/**
 * One operation of the REST surface, as data: router, validation, documentation and tests read it. What the
 * action's contract says already is not said again: the types of the fields and of the answer come from there.
 */
export interface Route<N extends Routable = Routable> {
  readonly method: Method;
  /** Below the base path; a placeholder is the contract's field in snake_case. */
  readonly path: string;
  readonly action: N;
  readonly tag: Tag;
  readonly summary: string;
  readonly description?: string;
  readonly access: Access;
  readonly success: 200 | 201 | 202 | 204;
  /** What the answer holds; JSON unless told otherwise. */
  readonly content?: "image" | "events";
  /** The data of a stream's events, by the names of the events. */
  readonly events?: Readonly<Record<string, Rule>>;
  /** Fields of the contract that this operation does not offer. */
  readonly without?: readonly (keyof RoutableParams<N>)[];
  /** Where the fields that the path does not hold come from; by default the body, with GET and DELETE the query. */
  readonly fields?: "body" | "query";
  /** The one field that the whole body is, as JSON, as an image's bytes or as the text that was signed. */
  readonly body?: { readonly [kind in "json" | "image" | "signed"]?: keyof RoutableParams<N> };
  /** Fields of the documented example, as the client sends them, where their schemas alone cannot make a true one. */
  readonly example?: Readonly<Record<string, unknown>>;
  /** Where the new resource is: a path below the base path with placeholders out of the answer. */
  readonly location?: string;
  /** A POST accepts an Idempotency-Key unless told otherwise; other methods do so only when told. */
  readonly idempotencyKey?: "required" | "accepted" | "never";
  /** Which limit holds besides those of the user and of the address. */
  readonly limit?: "sign-in";
  /**
   * To whom, as long as they ask for these fields alone, the service answers the same: what one was sent is kept
   * for the others, until the service says that what it caches under this name is outdated.
   */
  readonly sameFor?: {
    readonly roles: readonly Role[];
    readonly fields: readonly (keyof RoutableParams<N> & string)[];
    readonly cachedAs: string;
  };
  /** What the service refuses; the problems that every such operation has are added by its shape. */
  readonly problems?: readonly ErrorType[];
}

type Details<N extends Routable> = Omit<Route<N>, "method" | "path" | "action" | "tag">;

/** The routes of one table: `route("GET /orders/{order_id}", "orders.get", { … })`. */
export function table(tag: Tag) {
  return <const N extends Routable>(
    operation: `${Method} /${string}`,
    action: N,
    details: Details<N>,
  ): Route => {
    const [method, path] = operation.split(" ") as [Method, string];
    return { method, path, action, tag, ...details } as unknown as Route;
  };
}
