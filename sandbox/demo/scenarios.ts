import { answered, type Schemas, type Waybill } from "@waybill/client";
import { waitFor } from "./client.ts";
import { DemoError, type SandboxPages } from "./pages.ts";

type Order = Schemas["Order"];

/** One way in which an order can end. */
export interface Scenario {
  name: string;
  /** Note of the order. It controls what the kitchens of the sandbox do. */
  note?: string;
  /** Resolves when the order has reached the state of the scenario. */
  run(order: Schemas["Confirmation"], world: World): Promise<unknown>;
}

export interface World {
  customer: Waybill;
  pages: SandboxPages;
}

const unpaid: Scenario = { name: "unpaid", run: async () => undefined };

const declined: Scenario = {
  name: "payment declined",
  run: ({ checkout_url: url }, { pages }) => pages.submit(url, { action: "decline" }),
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
    await world.pages.submit(order.checkout_url, { action: "pay" });
    await untilStatus(world.customer, order.order_id, "cancelled");
  },
};

const onItsWay: Scenario = {
  name: "on its way",
  async run(order, world) {
    await world.pages.submit(order.checkout_url, { action: "pay" });
    return untilStatus(world.customer, order.order_id, "delivering");
  },
};

const delivered: Scenario = {
  name: "delivered",
  async run(order, world) {
    await world.pages.submit(order.checkout_url, { action: "pay" });
    const { pin } = await untilStatus(world.customer, order.order_id, "delivering");
    const { status } = await world.pages.post(`/courier/orders/${order.order_id}/pin`, { pin });
    if (status >= 400) throw new DemoError(`the courier's page answered ${status}`);
  },
};

/** Used in turn. Most orders are delivered; few stay on their way, so that the courier is still assigned further orders. */
const scenarios = [
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

export function scenarioOf(index: number): Scenario {
  return scenarios[index % scenarios.length] as Scenario;
}

function untilStatus(customer: Waybill, id: string, status: Order["status"]): Promise<Order> {
  let last = "";
  return waitFor(
    () => `the state ${status} of the order ${id} (it is ${last})`,
    async () => {
      const params = { path: { order_id: id } };
      const order = await answered(customer.GET("/orders/{order_id}", { params }));
      last = order.status;
      return last === status ? order : undefined;
    },
  );
}
