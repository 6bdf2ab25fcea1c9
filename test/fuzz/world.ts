import { setTimeout as delay } from "node:timers/promises";
import { type Role, roles } from "../../contracts/meta.ts";
import { newId } from "../../lib/ids.ts";
import type { Client } from "../e2e/client.ts";
import {
  admin,
  atCheckout,
  carriedOrder,
  check,
  customer,
  invited,
  type Kitchen,
  kitchen,
  order,
  ownText,
  type Person,
  readyOrder,
  sandboxBank,
  signIn,
} from "../e2e/world.ts";

/** The senders: each role, and a sender without a sign-in. */
export const senders = [...roles, "nobody"] as const;
export type Sender = (typeof senders)[number];

/** The ids that generated requests may use, one real id for each placeholder, and the senders. */
export interface FuzzWorld {
  /** Real values for placeholders of paths and for fields of bodies of the same name. */
  ids: Record<string, string>;
  people: Record<Role, Person>;
  shop: Kitchen;
  /** A fresh access token, since a token expires during a long run; none without a sign-in. */
  token(sender: Sender): Promise<string | undefined>;
  close(): Promise<void>;
}

/** One user of each role, a partner with its system, and orders in the states that most operations need. */
export async function fuzzWorld(api: Client): Promise<FuzzWorld> {
  const root = await admin(api);
  const shop = await kitchen(api, root);
  const [me, courier, staff, support, finance, operator] = await Promise.all([
    customer(api),
    invited(api, root, { role: "deliverer" }),
    invited(api, root, { role: "partner", partner_id: shop.partnerId, partner_admin: true }),
    invited(api, root, { role: "support" }),
    invited(api, root, { role: "finance" }),
    // Not the first admin: the requests here can end the session of their sender.
    invited(api, root, { role: "admin" }),
  ]);
  const people = { customer: me, deliverer: courier, partner: staff, support, finance, admin: operator };
  const carried = await carriedOrder(api, me, shop, courier);
  await readyOrder(api, me, shop);
  const pending = await order(api, me, shop);
  const paid = await order(api, me, shop);
  await atCheckout(paid.checkout_url, { action: "pay" });
  const { check_id } = await check(api, me, shop);
  const first = async (operation: string, token: string) => {
    const { items } = await api.ok<{ items: { id: string }[] }>(operation, { token });
    return items[0]?.id ?? newId();
  };
  const { tracking_token } = await api.ok<{ tracking_token?: string }>(`GET /orders/${carried.order_id}`, me);
  const ids: Record<string, string> = {
    order_id: carried.order_id,
    pending_order_id: pending.order_id,
    partner_id: shop.partnerId,
    product_id: shop.products[0] as string,
    bank_id: await sandboxBank(api, me),
    agent_id: await first("GET /agents", root),
    template_id: await ownText(api, root),
    delivery_id: await first(`GET /partners/${shop.partnerId}/webhook/deliveries`, root),
    device_id: await first("GET /me/devices", me.token),
    deliverer_id: courier.id,
    courier_id: courier.id,
    session_id: newId(),
    dead_letter_id: `orders:${newId()}`,
    token: tracking_token ?? "A".repeat(51),
    check_id,
  };
  return {
    ids,
    people,
    shop,
    token: async (sender) =>
      sender === "nobody" ? undefined : (await signIn(api, people[sender].email)).access_token,
    async close() {
      await shop.close();
      await delay(0);
    },
  };
}
