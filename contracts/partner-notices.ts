import { type Infer, integer, object, oneOf, optional, text, uuid } from "./schema.ts";

/**
 * What became of notifying a partner of an order to prepare. `delivered`: its system accepted the webhook.
 * `unreachable`: its system did not, for a reason that is the partner's. `no_endpoint`: it has no system that listens, its
 * staff see the order in their list. `held_up`: the platform could not send the webhook, or not even make it.
 */
export const partnerNotice = object({
  version: integer(1, 2 ** 31),
  orderId: uuid,
  partnerId: uuid,
  outcome: oneOf("delivered", "unreachable", "no_endpoint", "held_up"),
  detail: optional(text(500)),
});
export type PartnerNotice = Infer<typeof partnerNotice>;
