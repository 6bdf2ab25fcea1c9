import { type ApiError, answered, type Schemas, type Waybill } from "@waybill/client";
import { alwaysOpen } from "../catalogue.ts";
import { waitFor } from "../demo/client.ts";
import { type DemoPlaces, sandboxPages } from "../demo/pages.ts";
import { mapConcurrent } from "../map-concurrent.ts";
import { type PartnerSystem, partnerSystem } from "../partner-system/system.ts";
import { CODE, INVITATION_TOKEN } from "../people.ts";
import { clientWithRetries, retryWhileBusy } from "../retry.ts";
import { newRoutes, serve } from "../web.ts";
import { couriers, customers, type Shop, shops } from "./plan.ts";

const BASE = "/system";
const PREPARATION_MS = 500;
/** Accounts that are made at once: each needs hashes of passwords. */
const AT_ONCE = 4;

export interface ShopOfDay {
  id: string;
  shop: Shop;
  /** By their order in the plan. */
  productIds: string[];
  /** The client of the staff; absent where a system works. */
  staff?: Waybill;
}

/** The people and the systems of a day. */
export interface Cast {
  shops: ShopOfDay[];
  couriers: Waybill[];
  customers: Waybill[];
  bankId: string;
  /** Stops the system of the partner with the webhook. */
  stop(): Promise<void>;
}

export interface DayPlaces extends DemoPlaces {
  admin: { email: string; password: string };
}

/** Creates all by the API: an admin creates partners and invites, the invited accept by mail, customers sign up. */
export async function castOf(places: DayPlaces, customerCount: number): Promise<Cast> {
  const pages = sandboxPages(places.sandboxUrl);
  const run = crypto.randomUUID().slice(0, 8);
  const admin = clientWithRetries(places.apiUrl);
  await admin.signIn(places.admin);
  const mailed = (email: string, pattern: RegExp) =>
    waitFor(
      () => `the mail to ${email}`,
      async () => {
        const mails = await pages.read<{ text: string }[]>(`/mailbox.json?to=${encodeURIComponent(email)}`);
        return mails.map(({ text }) => pattern.exec(text)?.[1]).find(Boolean);
      },
    );
  const password = `day-${crypto.randomUUID()}`;

  async function signedIn(email: string): Promise<Waybill> {
    const client = clientWithRetries(places.apiUrl);
    await retryWhileBusy(() => client.signIn({ email, password }));
    return client;
  }
  async function invited(name: string, invitation: { role: "deliverer" | "partner"; partner_id?: string }) {
    const email = `${name.toLowerCase()}.${run}@day.example`;
    await admin.POST("/invitations", { body: { email, ...invitation } });
    const body = {
      token: await mailed(email, INVITATION_TOKEN),
      ...{ password, first_name: name, last_name: "Day" },
    };
    await retryWhileBusy(() => clientWithRetries(places.apiUrl).POST("/invitations/accept", { body }));
    return await signedIn(email);
  }
  async function customer(name: string) {
    const email = `${name.toLowerCase()}.${run}@day.example`;
    const anonymous = clientWithRetries(places.apiUrl);
    const body = { email, password, first_name: name, last_name: "Day", phone: "+4915112345678" };
    await retryWhileBusy(() => anonymous.POST("/users", { body }));
    const code = await mailed(email, CODE);
    await retryWhileBusy(() => anonymous.POST("/users/confirm", { body: { email, code } }));
    return await signedIn(email);
  }

  const system = partnerSystem({ base: BASE, preparationMs: PREPARATION_MS });
  const web = await serve(newRoutes().route("/", system.routes), { host: "127.0.0.1", port: 0 });
  const stop = async () => {
    system.stop();
    await web.stop();
  };
  try {
    const open = await inOrder(shops, async (shop, index): Promise<ShopOfDay> => {
      const made = await shopOf(admin, shop, index);
      if (shop.byHand) {
        return { ...made, staff: await invited(`staff${index}`, { role: "partner", partner_id: made.id }) };
      }
      await connect(admin, system, made, web.url);
      return made;
    });
    const riding = await inOrder(couriers, async (name, index) => {
      const client = await invited(name, { role: "deliverer" });
      const { position } = shops[index % shops.length] as Shop;
      await client.PUT("/deliveries/duty", { body: { on_duty: true, vehicle: "bicycle", position } });
      return client;
    });
    const buying = await inOrder(customers.slice(0, customerCount), customer);
    const { items } = await answered((buying[0] as Waybill).GET("/banks"));
    const bank = items.find(({ adapter, active }) => adapter === "sandbox" && active);
    return { shops: open, couriers: riding, customers: buying, bankId: bank?.id ?? "", stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** The partner with its products; that of an earlier day is used again. */
async function shopOf(admin: Waybill, shop: Shop, index: number): Promise<ShopOfDay> {
  const address: Schemas["Address"] = {
    ...{ line1: shop.street, city: "Berlin", postal_code: "10119", country: "DE" },
    position: shop.position,
  };
  const fields = {
    ...{ title: shop.title, phone: `+4930555020${index}0`, email: `shop${index}@day.example`, address },
    ...{ currency: "EUR", delivery_fee_minor: 290, preparation_minutes: 15, proof: "pin" as const },
  };
  const known = async () => {
    const { items } = await answered(admin.GET("/partners", { params: { query: { limit: 100 } } }));
    return items.find(({ title }) => title === shop.title);
  };
  const partner = await answered(admin.POST("/partners", { body: fields })).catch(async (error) => {
    const same = (error as ApiError).code === "partner_exists" ? await known() : undefined;
    if (!same) throw error;
    return same;
  });
  const params = { path: { partner_id: partner.id } };
  await admin.PUT("/partners/{partner_id}/hours", { params, body: alwaysOpen });
  await admin.PATCH("/partners/{partner_id}", { params, body: { verified: true, enabled: true } });
  const query = { partner_id: partner.id, limit: 100 };
  const { items } = await answered(admin.GET("/products", { params: { query } }));
  const productIds = await inOrder(shop.products, async ([title, priceMinor]) => {
    const offered = items.find((offer) => offer.title === title);
    if (offered) return offered.product_id;
    const body = { title, price: { amount_minor: priceMinor, currency: "EUR" } };
    return (await answered(admin.POST("/partners/{partner_id}/products", { params, body }))).product_id;
  });
  return { id: partner.id, shop, productIds };
}

/** Connects the partner's system: its URL, and the secret of the signatures. */
async function connect(
  admin: Waybill,
  system: PartnerSystem,
  { id, shop }: ShopOfDay,
  url: string,
): Promise<void> {
  const params = { path: { partner_id: id } };
  const body = { url: url + system.pathOf(id), enabled: true };
  const made = await answered(admin.PUT("/partners/{partner_id}/webhook", { params, body }));
  const secret =
    made.secret ??
    (await answered(admin.POST("/partners/{partner_id}/webhook/rotate-secret", { params }))).secret;
  system.open({ partnerId: id, title: shop.title, secret: secret ?? "" });
}

/** Runs `work` for all items, some at a time. @returns the results in the order of the items */
async function inOrder<T, R>(
  items: readonly T[],
  work: (item: T, index: number) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  await mapConcurrent(
    [...items.entries()],
    async ([index, item]) => {
      results[index] = await work(item, index);
    },
    AT_ONCE,
  );
  return results;
}
