import type { ErrorType } from "../../../contracts/errors.ts";
import type { Role } from "../../../contracts/meta.ts";
import type { Rule } from "../../../contracts/schema.ts";
import type { Routable, RoutableParams } from "../actions/contract.ts";

export type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";

/**
 * `public`: no sign-in. `signed`: a machine signs the body. `any`: every signed-in user. In a list, `partner` means all
 * staff of a partner including its admins, and `partner_admin` only its admins.
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
  | "Webhooks"
  | "Users"
  | "Operations";

/**
 * One operation of the REST API as data for router, validation, documentation and tests. The types of the fields and of
 * the answer come from the contract of the action.
 */
export interface Route<N extends Routable = Routable> {
  readonly method: Method;
  /** Below the base path. A placeholder names a field of the contract in snake_case. */
  readonly path: string;
  readonly action: N;
  readonly tag: Tag;
  readonly summary: string;
  readonly description?: string;
  readonly access: Access;
  readonly success: 200 | 201 | 202 | 204;
  /** Content of the answer. Default: JSON. */
  readonly content?: "image" | "events" | "csv" | "file";
  /** Schemas of the data of a stream's events, by event name. */
  readonly events?: Readonly<Record<string, Rule>>;
  /** Fields of the contract that this operation does not offer. */
  readonly without?: readonly (keyof RoutableParams<N>)[];
  /** Source of the fields that are not in the path. Default: the query for GET and DELETE, else the body. */
  readonly fields?: "body" | "query";
  /** The field that holds the whole body: as JSON, as the bytes of an image, or as signed text. */
  readonly body?: { readonly [kind in "json" | "image" | "signed"]?: keyof RoutableParams<N> };
  /** Of a signed body: the schemas by the value of its field `type`, for the documentation. The service checks the body. */
  readonly reports?: Readonly<Record<string, Rule>>;
  /** The headers that sign the body, in lower case. */
  readonly signedBy?: readonly string[];
  /** Fields of the documented example, as the client sends them, where the schema alone gives no realistic value. */
  readonly example?: Readonly<Record<string, unknown>>;
  /** Path of the new resource below the base path, with placeholders for fields of the answer. */
  readonly location?: string;
  /** Default: `accepted` for POST, `never` for other methods. */
  readonly idempotencyKey?: "required" | "accepted" | "never";
  /** A limit in addition to those of the user and of the address. */
  readonly limit?: "sign-in";
  /**
   * All callers of these roles get the same answer if they use only these fields, so the gateway caches it. The
   * service invalidates it by the name `cachedAs`.
   */
  readonly sameFor?: {
    readonly roles: readonly Role[];
    readonly fields: readonly (keyof RoutableParams<N> & string)[];
    readonly cachedAs: string;
  };
  /** Problems of the service. Those that follow from the shape of the operation are added to them. */
  readonly problems?: readonly ErrorType[];
}

/** For the descriptions of streams that are fed from the event log. */
export const STREAM_RULES = [
  "`reload`: read the list now; the events after it change that list. It comes first, unless `Last-Event-ID` resumes the",
  "stream: then all events since then follow, or a `reload` if they are no longer stored. A comment or an id without data",
  "is sent every 15 seconds. The stream ends with the access token; connect again with a fresh one.",
].join("\n");

type Details<N extends Routable> = Omit<Route<N>, "method" | "path" | "action" | "tag">;

/** Makes the routes of one table: `route("GET /orders/{order_id}", "orders.get", { … })`. */
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
