import { type ActionContract, action, type ParamsOf, type ResultOf } from "../../../contracts/action.ts";
import { actions } from "../../../contracts/actions.ts";
import {
  deadLetter,
  deadLetterDrop,
  deadLetterDropResult,
  deadLetterReplay,
  deadLetterReplayResult,
} from "../../../contracts/dead-letters.ts";
import { identityActions, session } from "../../../contracts/identity.ts";
import type { Ctx } from "../../../contracts/meta.ts";
import { device } from "../../../contracts/notifications.ts";
import { queueOwners } from "../../../contracts/operations.ts";
import { confirmation, order, ordersActions } from "../../../contracts/orders.ts";
import { partnersActions, quote } from "../../../contracts/partners.ts";
import { listOf, matching, nothing, object, oneOf, paging, time, uuid } from "../../../contracts/schema.ts";

/** Service and message id in one, because every service has a queue of its own: `orders:<uuid>`. */
const deadLetterId = matching(
  new RegExp(
    `^(?:${queueOwners.join("|")}):[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`,
  ),
  60,
  "the id of a dead letter, as the list shows it",
);

const { cursor: _, limit: __, userId: ___, ...orderFilters } = ordersActions["orders.list"].params.props;
const exportParams = object({ ...orderFilters, from: time, to: time });

/** The actions of the gateway itself. They are no actions of the broker: only a request can call them. */
export const gatewayActions = {
  /** Has Partners check the cart, and stores the quote for its customer until it expires. */
  "api.check": action(partnersActions["partners.check"].params, quote),
  /** Turns a stored quote into an order. A repeat gets the same answer, even after the quote has expired. */
  "api.confirm": action(object({ checkId: uuid, bankId: uuid }), confirmation, { idempotent: true }),
  "api.deadLetters": action(
    object({ limit: paging.limit }),
    object({
      items: listOf(object({ ...deadLetter.props, id: deadLetterId })),
      /** Services that did not answer; `items` lacks their dead letters. */
      unreachable: listOf(oneOf(...queueOwners)),
    }),
    { idempotent: true },
  ),
  "api.replayDeadLetter": action(object({ deadLetterId }), nothing, { idempotent: true }),
  "api.dropDeadLetter": action(object({ deadLetterId }), nothing, { idempotent: true }),
  "api.replayDeadLetters": action(
    object({ service: oneOf(...queueOwners), ...deadLetterReplay.props }),
    deadLetterReplayResult,
  ),
  "api.dropDeadLetters": action(
    object({ service: oneOf(...queueOwners), ...deadLetterDrop.props }),
    deadLetterDropResult,
  ),
  /** A user with sessions, devices and the latest orders, as customer or as deliverer. */
  "api.user": action(
    identityActions["identity.user"].params,
    object({
      ...identityActions["identity.user"].result.props,
      sessions: listOf(session),
      devices: listOf(device),
      orders: listOf(order),
      /** Parts that could not be read now; their lists are empty. */
      unreachable: listOf(oneOf("sessions", "devices", "orders")),
    }),
    { idempotent: true },
  ),
  /** Answers with the rows of all pages of `orders.list`, as CSV. */
  "api.ordersCsv": action(exportParams, nothing, { idempotent: true }),
  /** Answers with all pages of the caller's export, as one JSON document. */
  "api.exportFile": action(object({}), nothing, { idempotent: true }),
  /** Answers with a stream of events. No schema describes it; the description of its route does. */
  "api.orderEvents": action(object({ orderId: uuid }), nothing, { idempotent: true }),
  "api.partnerEvents": action(object({ partnerId: uuid }), nothing, { idempotent: true }),
  "api.courierEvents": action(object({}), nothing, { idempotent: true }),
  "api.events": action(object({}), nothing, { idempotent: true }),
} as const;

/** The pipeline has validated the parameters of such an action, and calls it without the broker. */
export type OwnAction = (ctx: Ctx<never>) => Promise<unknown>;
/** By name. Streams and exports are answered by the pipeline itself. */
export type OwnActions = Readonly<
  Record<Exclude<keyof typeof gatewayActions, "api.ordersCsv" | "api.exportFile" | StreamAction>, OwnAction>
>;
type StreamAction = "api.orderEvents" | "api.partnerEvents" | "api.courierEvents" | "api.events";

/** Every action that a route can name. */
export const routable = { ...actions, ...gatewayActions } as const;
export type Routable = keyof typeof routable;
export type RoutableParams<N extends Routable> = ParamsOf<(typeof routable)[N]>;
export type RoutableResult<N extends Routable> = ResultOf<(typeof routable)[N]>;

export function contractOf(name: Routable): ActionContract {
  return routable[name];
}
