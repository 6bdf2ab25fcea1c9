import { answered, type Schemas, type Waybill, waybill } from "@waybill/client";
import { sandboxPartners } from "../catalogue.ts";
import { amountText } from "../layout.ts";
import { mapConcurrent } from "../map-concurrent.ts";
import { sandboxCustomer } from "../people.ts";
import { DemoError, type DemoPlaces, sandboxPages } from "./pages.ts";
import { type Scenario, scenarioOf, type World } from "./scenarios.ts";

export const SEED_ORDERS_MAX = 100;
const LINES_MAX = 3;
const TITLE_WIDTH = 22;
const SCENARIO_WIDTH = 20;

/** Creates `count` orders of the sandbox's customer, with the scenarios in turn, and prints one line for each. */
export async function seedOrders({ apiUrl, sandboxUrl }: DemoPlaces, count: number): Promise<void> {
  const customer = waybill({ url: apiUrl });
  await customer.signIn(sandboxCustomer);
  const world = { customer, pages: sandboxPages(sandboxUrl) };
  const shops = await openShops(customer);
  const bankId = await sandboxBank(customer);
  console.log(`${count} orders of ${sandboxCustomer.email}, four at a time:`);
  await mapConcurrent(
    Array.from({ length: count }, (_, index) => index),
    async (index) => {
      const scenario = scenarioOf(index);
      const shop = shops[index % shops.length] as Shop;
      const { order, total } = await placeOrder(world, { shop, bankId, index, scenario });
      await scenario.run(order, world);
      const about = [
        scenario.name.padEnd(SCENARIO_WIDTH),
        shop.title.padEnd(TITLE_WIDTH),
        total.padStart(10),
      ];
      console.log(`  …${order.order_id.slice(-6)}  ${about.join("  ")}`);
    },
  );
  console.log(`Done. Sign in as ${sandboxCustomer.email} at ${apiUrl}/docs/, or look at ${sandboxUrl}/`);
}

interface Shop {
  id: string;
  title: string;
  products: string[];
}

async function openShops(customer: Waybill): Promise<Shop[]> {
  const { items } = await answered(customer.GET("/partners", { params: { query: { limit: 100 } } }));
  const known = sandboxPartners.map(({ fields }) => fields.title);
  const open = items.filter(({ title, open }) => open && known.includes(title));
  if (open.length === 0) throw new DemoError("no partner of the sandbox is open");
  return Promise.all(
    open.map(async ({ id, title }) => {
      const query = { partner_id: id, limit: 100 };
      const offers = await answered(customer.GET("/products", { params: { query } }));
      return { id, title, products: offers.items.map(({ product_id }) => product_id) };
    }),
  );
}

async function sandboxBank(customer: Waybill): Promise<string> {
  const { items } = await answered(customer.GET("/banks"));
  const bank = items.find(({ adapter, active }) => adapter === "sandbox" && active);
  if (!bank) throw new DemoError("no bank of the sandbox is active");
  return bank.id;
}

interface OrderRequest {
  shop: Shop;
  bankId: string;
  index: number;
  scenario: Scenario;
}

async function placeOrder({ customer }: World, { shop, bankId, index, scenario }: OrderRequest) {
  const address: Schemas["Address"] = {
    line1: `Kastanienallee ${(index % 90) + 1}`,
    city: "Berlin",
    postal_code: "10435",
    country: "DE",
    position: { latitude: 52.5386, longitude: 13.4098 },
  };
  const lines = Array.from({ length: (index % LINES_MAX) + 1 }, (_, line) => ({
    product_id: shop.products[(index * LINES_MAX + line) % shop.products.length] as string,
    quantity: 1,
  }));
  const body = { partner_id: shop.id, lines, address, ...(scenario.note && { note: scenario.note }) };
  const check = await answered(customer.POST("/orders/check", { body }));
  const confirmed = { check_id: check.check_id, bank_id: bankId };
  const order = await answered(customer.POST("/orders/confirm", { body: confirmed }));
  return { order, total: amountText(check.total.amount_minor, check.total.currency) };
}
