import type { ActionSchema, CallingOptions } from "moleculer";
import type { ParamsOf, ResultOf } from "./action.ts";
import { catalogueActions } from "./catalogue.ts";
import { courierActions } from "./couriers.ts";
import { exportActions } from "./exports.ts";
import { grpcClientActions } from "./grpc-clients.ts";
import { identityActions } from "./identity.ts";
import { mediaActions } from "./media.ts";
import type { Ctx } from "./meta.ts";
import { notificationsActions } from "./notifications.ts";
import { operationsActions } from "./operations.ts";
import { ordersActions } from "./orders.ts";
import { partnersActions } from "./partners.ts";
import { paymentActions } from "./payment-actions.ts";
import { rootOf } from "./schema.ts";
import { streamActions } from "./streams.ts";
import { templatesActions } from "./templates.ts";

/** All actions that services offer each other, by full name. */
export const actions = {
  ...ordersActions,
  ...courierActions,
  ...streamActions,
  ...paymentActions,
  ...partnersActions,
  ...catalogueActions,
  ...identityActions,
  ...grpcClientActions,
  ...exportActions,
  ...notificationsActions,
  ...templatesActions,
  ...mediaActions,
  ...operationsActions,
} as const;

export type ActionName = keyof typeof actions;
export type Params<N extends ActionName> = ParamsOf<(typeof actions)[N]>;
export type Result<N extends ActionName> = ResultOf<(typeof actions)[N]>;

/**
 * The Moleculer schema of an action: the contract's parameters and retry policy, and the handler.
 * @param more other properties of the schema, as cache keys
 */
export function implement<N extends ActionName>(
  name: N,
  handler: (ctx: Ctx<Params<N>>) => Promise<Result<N>>,
  more: Omit<ActionSchema, "params" | "handler"> = {},
): ActionSchema {
  const { params, idempotent } = actions[name];
  return {
    visibility: "published",
    params: rootOf(params) as ActionSchema["params"],
    retryPolicy: { enabled: idempotent },
    ...more,
    handler: handler as ActionSchema["handler"],
  };
}

interface CanCall {
  call(name: string, params: unknown, options?: CallingOptions): Promise<unknown>;
}

/** A typed `ctx.call` or `broker.call`: a misspelt action or parameter does not compile. */
export function call<N extends ActionName>(
  from: CanCall,
  name: N,
  params: Params<N>,
  options?: CallingOptions,
): Promise<Result<N>> {
  return from.call(name, params, options) as Promise<Result<N>>;
}
