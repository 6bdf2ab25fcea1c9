import type { Context } from "moleculer";

export type Role = "customer" | "deliverer" | "partner" | "admin";

/**
 * What travels with every call. It is written in one place, the gateway's `onBeforeCall`, and holds no
 * statement about who the caller is: only the token that proves it, which each service verifies for itself.
 */
export interface Meta {
  /** The access token as it came in, without "Bearer". */
  token?: string;
  /** The value of X-Request-Id: given by the client or made by the gateway. */
  requestId?: string;
  /** The client's address as the gateway saw it, for limits and the audit log. */
  clientIp?: string;
  /** The key of RFC draft idempotency-key-header, with the SHA-256 of the body that came with it. */
  idempotency?: { key: string; bodyHash: string };
  /** Written by the service on the way back: the answer was stored by an earlier request with the same key. */
  replayed?: boolean;
}

/** Who calls, read from a verified token by the caller middleware of the service that runs the action. */
export interface Caller {
  id: string;
  role: Role;
  sessionId: string;
  /** The one partner whose staff the caller is; only with the role `partner`. */
  partnerId?: string;
  /** Staff who may invite others of their partner. */
  partnerAdmin?: boolean;
}

/** What an action of this node knows besides; it never crosses the wire. */
export interface Locals {
  caller?: Caller;
  /** The node (or plain gRPC client) that called over the bridge, as its credential proved. */
  peer?: string;
  /** What carried the call, on both of its sides: the bridge says so, the transporter does not. */
  wire?: "grpc";
  /** Aborted when whoever called over the bridge has gone or waits no longer. */
  signal?: AbortSignal;
  /** Hears of the handler's work, which may go on when nobody waits for its answer any more. */
  working?: (work: Promise<unknown>) => void;
}

export type Ctx<Params> = Context<Params, Meta, Locals>;
