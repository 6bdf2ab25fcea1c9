import type { Context } from "moleculer";

/** In ascending order of rights: a user with several roles at the identity provider acts in the last of them. */
export const roles = ["customer", "deliverer", "partner", "support", "finance", "admin"] as const;
export type Role = (typeof roles)[number];

/**
 * The people who operate the platform. `support` reads orders and refunds up to a limit; `finance` settles payments and
 * exports; neither manages people or sees secrets. `admin` may do everything.
 */
export const operatorRoles = ["support", "finance", "admin"] as const satisfies readonly Role[];
export type OperatorRole = (typeof operatorRoles)[number];

export function isOperator(role: Role): role is OperatorRole {
  return (operatorRoles as readonly Role[]).includes(role);
}

/**
 * The metadata of every call. Only the gateway writes it, for each request. It contains the caller's token, never the
 * caller's identity: each service verifies the token itself.
 */
export interface Meta {
  /** The access token as received, without "Bearer". */
  token?: string;
  /** The value of X-Request-Id, set by the client or else by the gateway. */
  requestId?: string;
  /** The client's IP address as determined by the gateway, for limits and the audit log. */
  clientIp?: string;
  /** The key of RFC draft idempotency-key-header, with the SHA-256 of the request's body. */
  idempotency?: { key: string; bodyHash: string };
  /** Set by the service in its answer: an earlier request with the same key stored this answer. */
  replayed?: boolean;
}

/** The caller, read from a verified token by the middleware of the service that runs the action. */
export interface Caller {
  id: string;
  role: Role;
  sessionId: string;
  /** The partner that the caller works for; only with the role `partner`. */
  partnerId?: string;
  /** Whether the caller may invite further staff of the partner. */
  partnerAdmin?: boolean;
}

/** The local values of a call on this node; they are never sent to another node. */
export interface Locals {
  caller?: Caller;
  /** The authenticated node or gRPC client that called over gRPC. */
  peer?: string;
  /** The transport of the call, on both of its sides. Set for gRPC only. */
  wire?: "grpc";
  /** Aborted when the gRPC caller has disconnected or stopped waiting. */
  signal?: AbortSignal;
  /** Called with the handler's promise, which may stay pending after the caller has stopped waiting. */
  working?: (work: Promise<unknown>) => void;
}

export type Ctx<Params> = Context<Params, Meta, Locals>;
