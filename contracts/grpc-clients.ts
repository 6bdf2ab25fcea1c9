import { action } from "./action.ts";
import { catalogueActions } from "./catalogue.ts";
import { courierActions } from "./couriers.ts";
import { operationsActions } from "./operations.ts";
import { ordersActions } from "./orders.ts";
import { partnersActions } from "./partners.ts";
import { paymentActions } from "./payment-actions.ts";
import {
  array,
  type Infer,
  integer,
  listOf,
  matching,
  object,
  oneOf,
  optional,
  page,
  paging,
  text,
  time,
  uuid,
} from "./schema.ts";

/** Programs of third parties that call gRPC methods with keys of their own. */

/** Active clients at one time, so that every node can hold all of them. */
export const GRPC_CLIENTS_MAX = 100;

/** Called between services: without a caller they trust that the call comes from a node. */
const BETWEEN_SERVICES = [
  "orders.applyPartnerCallback",
  "orders.openOf",
  "orders.state",
  "partners.release",
  "partners.reserve",
];

/** The gRPC methods that a client can be allowed to call: `waybill.orders.v1.Orders/List`. */
export const grpcMethods: readonly string[] = Object.keys({
  ...ordersActions,
  ...courierActions,
  ...paymentActions,
  ...partnersActions,
  ...catalogueActions,
  ...operationsActions,
})
  .filter((name) => /^(?:orders|partners)\./.test(name) && !BETWEEN_SERVICES.includes(name))
  .map((name) => name.replace(/^(\w)(\w*)\.(\w)/, grpcName));

function grpcName(_: string, first: string, rest: string, method: string): string {
  return `waybill.${first}${rest}.v1.${first.toUpperCase()}${rest}/${method.toUpperCase()}`;
}

const fields = {
  name: matching(/^[a-z][a-z0-9-]{1,39}$/, 40, "2 to 40 small letters, digits and hyphens, a letter first"),
  methods: array(oneOf(...grpcMethods), { min: 1, max: 100 }),
  /** On each node that serves gRPC. */
  callsPerSecond: integer(1, 1_000),
} as const;

export const grpcClient = object({
  id: uuid,
  ...fields,
  state: oneOf("active", "expired", "revoked"),
  expiresAt: optional(time),
  revokedAt: optional(time),
  /** Exact to half a minute. */
  lastUsedAt: optional(time),
  createdBy: uuid,
  createdAt: time,
});
export type GrpcClient = Infer<typeof grpcClient>;

/** The data of an active client for a node. The key itself is stored nowhere. */
export const grpcClientKey = object({
  id: uuid,
  ...fields,
  /** SHA-256 of the key's secret part, in base64url. */
  secretHash: text(43, 43),
  expiresAt: optional(time),
});
export type GrpcClientKey = Infer<typeof grpcClientKey>;

export const grpcClientActions = {
  /** Newest first. Revoked and expired clients are listed for 90 days. */
  "identity.grpcClients": action(object(paging), page(grpcClient), { idempotent: true }),
  /** Answers the key, once. */
  "identity.createGrpcClient": action(
    object({ ...fields, callsPerSecond: optional(fields.callsPerSecond), expiresAt: optional(time) }),
    object({ client: grpcClient, key: text(100) }),
  ),
  /** By name or id. Takes effect at once on every node that can be reached, on others within half a minute. */
  "identity.revokeGrpcClient": action(object({ client: text(40) }), grpcClient, { idempotent: true }),
  /** For the nodes that serve gRPC: all active clients. `used`: the last calls of clients since the former request. */
  "identity.grpcClientKeys": action(
    object({ used: array(object({ id: uuid, at: time }), { max: GRPC_CLIENTS_MAX }) }),
    object({ items: listOf(grpcClientKey) }),
    { idempotent: true },
  ),
} as const;

/** A key is `waybill_<id>_<secret>`, so that scanners of leaked secrets find it. */
const KEY = /^waybill_([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})_([\w-]{43})$/;

export function grpcKeyOf(id: string, secret: string): string {
  return `waybill_${id}_${secret}`;
}

/** @returns undefined for a text that is no key */
export function parseGrpcKey(key: string): { id: string; secret: string } | undefined {
  const [, id, secret] = KEY.exec(key) ?? [];
  return id !== undefined && secret !== undefined ? { id, secret } : undefined;
}
