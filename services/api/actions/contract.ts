import { type ActionContract, action, type ParamsOf, type ResultOf } from "../../../contracts/action.ts";
import { actions } from "../../../contracts/actions.ts";
import { deadLetter, deadLetterDrop, droppedLetters } from "../../../contracts/dead-letters.ts";
import { queueOwners } from "../../../contracts/operations.ts";
import { confirmation } from "../../../contracts/orders.ts";
import { partnersActions, quote } from "../../../contracts/partners.ts";
import { listOf, matching, nothing, object, oneOf, paging, uuid } from "../../../contracts/schema.ts";

/** Says which service's queue holds it, so that one id is enough to find it again. */
const deadLetterId = matching(
  new RegExp(
    `^(?:${queueOwners.join("|")}):[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`,
  ),
  60,
  "the id of a dead letter, as the list shows it",
);

/** What the gateway itself does beyond passing on: called within its own node only, by the same rules. */
export const gatewayActions = {
  /** Has Partners check the cart and keeps the quote for its customer until it expires. */
  "api.check": action(partnersActions["partners.check"].params, quote),
  /** Turns a kept quote into an order. A repeat answers the same, also when the quote has expired since. */
  "api.confirm": action(object({ checkId: uuid, bankId: uuid }), confirmation, { idempotent: true }),
  "api.deadLetters": action(
    object({ limit: paging.limit }),
    object({
      items: listOf(object({ ...deadLetter.props, id: deadLetterId })),
      /** Services that did not answer: their dead letters are missing here. */
      unreachable: listOf(oneOf(...queueOwners)),
    }),
    { idempotent: true },
  ),
  "api.replayDeadLetter": action(object({ deadLetterId }), nothing, { idempotent: true }),
  "api.dropDeadLetter": action(object({ deadLetterId }), nothing, { idempotent: true }),
  "api.dropDeadLetters": action(
    object({ service: oneOf(...queueOwners), ...deadLetterDrop.props }),
    droppedLetters,
  ),
  /** Answers a stream, which no schema describes; the route's description does. */
  "api.orderEvents": action(object({ orderId: uuid }), nothing, { idempotent: true }),
} as const;

export type GatewayActionName = keyof typeof gatewayActions;

/** Every action that a route may name. */
export const routable = { ...actions, ...gatewayActions } as const;
export type Routable = keyof typeof routable;
export type RoutableParams<N extends Routable> = ParamsOf<(typeof routable)[N]>;
export type RoutableResult<N extends Routable> = ResultOf<(typeof routable)[N]>;

export function contractOf(name: Routable): ActionContract {
  return routable[name];
}
