import { type Infer, integer, object, oneOf, optional, text, uuid } from "./schema.ts";

/**
 * The result of notifying a partner of an order to prepare. `delivered`: the partner's system accepted the webhook.
 * `unreachable`: it did not, for a reason on the partner's side. `no_endpoint`: the partner has no webhook; its staff
 * see the order in their list. `held_up`: the platform could not make or send the webhook.
 */
export const partnerNotice = object({
  version: integer(1, 2 ** 31),
  orderId: uuid,
  partnerId: uuid,
  outcome: oneOf("delivered", "unreachable", "no_endpoint", "held_up"),
  detail: optional(text(500)),
});
export type PartnerNotice = Infer<typeof partnerNotice>;
