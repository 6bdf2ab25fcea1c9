import { answered, type Schemas, type Waybill } from "@waybill/client";
import { until } from "./client.ts";
import { DemoError, type SandboxPages } from "./pages.ts";

type Order = Schemas["Order"];

/** What becomes of an order. */
export interface Scenario {
  name: string;
  /** What the sandbox's kitchens go by. */
  note?: string;
  /** @returns once the order has met its fate */
  run(order: Schemas["Confirmation"], world: World): Promise<unknown>;
}

export interface World {
  customer: Waybill;
  pages: SandboxPages;
}

const unpaid: Scenario = { name: "unpaid", run: async () => undefined };

const declined: Scenario = {
  name: "payment declined",
  run: ({ checkout_url: url }, { pages }) => pages.press(url, { action: "decline" }),
};

const cancelled: Scenario = {
  name: "cancelled",
  run: ({ order_id }, { customer }) =>
    customer.POST("/orders/{order_id}/cancel", {
      params: { path: { order_id } },
      body: { reason: "Changed my mind." },
    }),
};

const rejected: Scenario = {
  name: "rejected, refunded",
  note: "Please reject.",
  async run(order, world) {
    await world.pages.press(order.checkout_url, { action: "pay" });
    await reached(world.customer, order.order_id, "cancelled");
  },
};

const onItsWay: Scenario = {
  name: "on its way",
  async run(order, world) {
    await world.pages.press(order.checkout_url, { action: "pay" });
    return reached(world.customer, order.order_id, "delivering");
  },
};

const delivered: Scenario = {
  name: "delivered",
  async run(order, world) {
    await world.pages.press(order.checkout_url, { action: "pay" });
    const { pin } = await reached(world.customer, order.order_id, "delivering");
    const { status } = await world.pages.post(`/courier/orders/${order.order_id}/pin`, { pin });
    if (status >= 400) throw new DemoError(`the courier's page answered ${status}`);
  },
};

/** By turns: most are delivered, and of a hundred so few stay on their way that the courier still takes more. */
const fates = [
  ...[delivered, unpaid, delivered, rejected, delivered, cancelled, delivered, onItsWay, delivered, declined],
  ...[
    delivered,
    delivered,
    rejected,
    delivered,
    cancelled,
    delivered,
    delivered,
    delivered,
    declined,
    delivered,
  ],
];

export function fateOf(index: number): Scenario {
  return fates[index % fates.length] as Scenario;
}

function reached(customer: Waybill, id: string, status: Order["status"]): Promise<Order> {
  let last = "";
  return until(
    () => `the state ${status} of the order ${id} (it is ${last})`,
    async () => {
      const params = { path: { order_id: id } };
      const order = await answered(customer.GET("/orders/{order_id}", { params }));
      last = order.status;
      return last === status ? order : undefined;
    },
  );
}
