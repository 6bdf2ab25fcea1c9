import { operatorRoles } from "../../contracts/meta.ts";
import { type Endpoint, endpointOf } from "../../services/api/pipeline/endpoint.ts";
import { routes } from "../../services/api/routes/index.ts";

/** Placeholders whose resource has an owner; any user may name the other ones. */
const OWNED = ["order_id", "session_id", "device_id", "invitation_id"];
/** Where the partner that a path names has to be one's own. */
const PARTNERS_OWN = "Partner administration";
/** Every deliverer may assign themselves an order of the pool; that it is assigned already is no secret. */
const answersTaken = "POST /orders/{order_id}/assign";

/**
 * The senders that the service refuses although the route table lets them pass. No other sender is answered 403, and
 * these senders get no other answer.
 */
const FINER: Record<string, readonly Sender[]> = {
  // Partners may invite their own staff only, and not verify themselves.
  "POST /invitations": ["partner_admin"],
  "PATCH /partners/{partner_id}": ["partner", "partner_admin"],
};
const SIGNED_IN: readonly Sender[] = [
  ...["customer", "deliverer", "partner", "partner_admin"],
  ...operatorRoles,
] as const;
/**
 * The senders for which the resource does not exist, has another id, or was deleted by an earlier sender. No other
 * sender is answered 404.
 */
const NOT_THERE: Record<string, readonly Sender[]> = {
  "GET /me/avatar": SIGNED_IN,
  // The data of these users is no file: it is answered at once.
  "GET /me/export/status": SIGNED_IN,
  "GET /me/export/file": SIGNED_IN,
  "POST /me/devices": SIGNED_IN,
  "GET /orders/{order_id}/proof": SIGNED_IN,
  "DELETE /partners/{partner_id}/products/{product_id}": ["partner_admin", "admin"],
  "POST /payments/{receipt_id}/refund": ["finance", "admin"],
  "POST /payments/{receipt_id}/assign": ["finance", "admin"],
  "POST /refunds/{refund_id}/retry": ["finance", "admin"],
  "POST /dead-letters/{dead_letter_id}/replay": ["admin"],
  "DELETE /dead-letters/{dead_letter_id}": ["admin"],
  // Nothing is offered: the platform has ASSIGNMENT=pool.
  "POST /orders/{order_id}/decline": ["deliverer"],
  "DELETE /users/{user_id}/sessions/{session_id}": ["admin"],
};
/** Operations that also need the password. The request sends a wrong one. */
const ASKS_AGAIN = ["DELETE /me", "PUT /me/password", "PATCH /me"];
/** The state of the order, or bytes that are no picture. */
const STOPPED_BY_STATE = [409, 415, 422];
/** Operations that transfer or delete a resource, or end the sender's access, in the order in which they run. */
export const GIVING_AWAY = [
  // Afterwards there is a file, at some time.
  "POST /me/export",
  "POST /orders/{order_id}/fail",
  "POST /orders/{order_id}/release",
  "POST /orders/{order_id}/reassign",
  "POST /orders/{order_id}/cancel",
  "POST /orders/{order_id}/override",
  "DELETE /partners/{partner_id}/products/{product_id}",
  "DELETE /sessions",
];
/** `partner` is staff of a partner that is not its admin. */
const SENDERS = [
  ...(["nobody", "customer", "deliverer", "partner", "partner_admin"] as const),
  ...operatorRoles,
] as const;
export type Sender = (typeof SENDERS)[number];
export type SignedIn = Exclude<Sender, "nobody">;
/** The words of the route tables that let a sender in. */
const wordsOf = (sender: Sender): readonly string[] =>
  sender === "partner_admin" ? ["partner", "partner_admin"] : [sender];

export interface Outcome {
  status: number;
  code: string;
}

const endpoints = routes.map(endpointOf);

function belongsToSomebody({ route: { path, tag } }: Endpoint): boolean {
  return (
    OWNED.some((name) => path.includes(`{${name}}`)) ||
    (tag === PARTNERS_OWN && path.includes("{partner_id}"))
  );
}

/** One of operation x role x owner, and what has to come of it. */
export interface Cell {
  endpoint: Endpoint;
  sender: Sender;
  /** The owner of the resource in the path. Operators may see all; public resources have no owner. */
  owner: "own" | "another's" | "nobody's";
  decided: keyof typeof verdicts;
}

/** The whole matrix, each cell decided by the tables alone. */
export const cells: readonly Cell[] = endpoints.flatMap((endpoint) =>
  SENDERS.flatMap((sender) => {
    const { access } = endpoint.route;
    const owners: Cell["owner"][] =
      belongsToSomebody(endpoint) && !operatorRoles.some((role) => role === sender)
        ? ["another's", "own"]
        : ["nobody's"];
    return owners.map((owner): Cell => {
      const cell = (decided: Cell["decided"]) => ({ endpoint, sender, owner, decided });
      if (access === "public" || access === "signed") return cell(access);
      if (sender === "nobody") return cell("unknown");
      const mayDoIt =
        access === "any" || wordsOf(sender).some((word) => access.some((name) => name === word));
      if (!mayDoIt) return cell("forbidden");
      return cell(owner === "another's" ? "hidden" : "allowed");
    });
  }),
);

export const verdicts = {
  /** Any sender. A sign-in is required only where the operation is about it. */
  public: ({ status, code }: Outcome, { endpoint: { operation } }: Cell) =>
    status < 500 &&
    code !== "forbidden" &&
    (code !== "unauthenticated" || operation === "POST /sessions/refresh"),
  /** No cell signs its request. */
  signed: ({ code }: Outcome) => code === "bad_signature",
  unknown: ({ code }: Outcome) => code === "unauthenticated",
  forbidden: ({ code }: Outcome) => code === "forbidden",
  hidden: ({ status, code }: Outcome, { endpoint: { operation } }: Cell) =>
    status === 404 || (code === "already_assigned" && operation === answersTaken),
  /** Past the gate and past the owner's: what stops it now is the state or nothing. */
  allowed: ({ status, code }: Outcome, { endpoint: { operation }, sender }: Cell) => {
    if (FINER[operation]?.includes(sender)) return status === 403;
    if (NOT_THERE[operation]?.includes(sender)) return status === 404;
    if (ASKS_AGAIN.includes(operation)) return code === "invalid_credentials";
    return status < 400 || STOPPED_BY_STATE.includes(status);
  },
};
