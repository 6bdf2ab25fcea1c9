import { setTimeout as delay } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { type Context, ServiceBroker, type ServiceSchema } from "moleculer";
import { connect } from "nats";
import { newId } from "../../lib/ids.ts";
import { natsTransporter } from "../../mixins/transporter/nats.ts";
import { brokerOptions } from "../../moleculer.config.ts";
import type { NatsServer } from "../servers/nats.ts";
import { eventually } from "../support/eventually.ts";
import { natsAs, startShippedNats } from "../support/nats.ts";

const BACK_MS = 5_000;

let server: NatsServer;
let brokers: ServiceBroker[];
beforeEach(async () => {
  brokers = [];
  server = await startShippedNats();
});
afterEach(async () => {
  await Promise.all(brokers.map((broker) => broker.stop()));
  await server.remove();
});

const heard: string[] = [];
const schemas: Record<string, ServiceSchema> = {
  orders: {
    name: "orders",
    actions: {
      where: (ctx: Context) => ctx.nodeID,
      host: (ctx: Context) => ctx.broker.nodeID,
      slowly: async () => {
        await delay(300);
        return "done";
      },
      ofNotifications: (ctx: Context) => ctx.call("notifications.host", {}, { timeout: 300, retries: 0 }),
    },
    events: {
      "menu.changed": {
        handler: (ctx: Context<{ n: number }>) => void heard.push(`${ctx.broker.nodeID} ${ctx.params.n}`),
      },
    },
  },
  notifications: { name: "notifications", actions: { host: (ctx: Context) => ctx.broker.nodeID } },
};

async function start(user: string): Promise<ServiceBroker> {
  const broker = new ServiceBroker({
    ...brokerOptions({
      nodeID: `${user}.${newId().slice(-8)}`,
      namespace: "waybill",
      transporter: natsTransporter(natsAs(server, user)),
      logLevel: "fatal",
      json: false,
      middlewares: [],
    }),
    heartbeatInterval: 1,
    heartbeatTimeout: 4,
  });
  brokers.push(broker);
  const schema = schemas[user];
  if (schema) broker.createService({ ...schema });
  await broker.start();
  return broker;
}

describe("nodes over NATS, each as the user of its service", () => {
  it("find each other, call in turn, broadcast, and answer what runs when they stop", async () => {
    const [gateway, one, other] = await Promise.all([start("gateway"), start("orders"), start("orders")]);
    await eventually(async () => {
      const hosts = new Set<string>();
      for (let n = 0; n < 4; n += 1) hosts.add(await gateway.call("orders.host"));
      expect(hosts).toEqual(new Set([one.nodeID, other.nodeID]));
    });
    expect(await gateway.call("orders.where")).toBe(gateway.nodeID);
    heard.length = 0;
    await gateway.broadcast("menu.changed", { n: 1 });
    await gateway.emit("menu.changed", { n: 2 });
    await eventually(() => expect(heard).toHaveLength(3));
    expect(heard.filter((line) => line.endsWith(" 1")).sort()).toEqual(
      [`${one.nodeID} 1`, `${other.nodeID} 1`].sort(),
    );
    const running = Array.from({ length: 6 }, () => gateway.call("orders.slowly"));
    await delay(50);
    await one.stop();
    expect(await Promise.all(running)).toEqual(Array(6).fill("done"));
    expect(await gateway.call("orders.host")).toBe(other.nodeID);
  });

  it("after the server was killed and came back, call each other again", async () => {
    const [gateway, orders] = await Promise.all([start("gateway"), start("orders")]);
    await eventually(async () => expect(await gateway.call("orders.host")).toBe(orders.nodeID));
    for (const awayMs of [0, 4_500]) {
      await server.kill();
      await delay(awayMs); // the second time long enough for all to be forgotten
      await server.start();
      await eventually(async () => expect(await gateway.call("orders.host")).toBe(orders.nodeID), {
        timeoutMs: BACK_MS,
      });
    }
  });

  it("who may not ask a service, gets no answer from it", async () => {
    const [gateway, orders, notifications] = await Promise.all(
      ["gateway", "orders", "notifications"].map((user) => start(user)),
    );
    await eventually(async () => {
      expect(await gateway?.call("notifications.host")).toBe(notifications?.nodeID);
    });
    await orders?.waitForServices("notifications", 5_000, 20);
    await expect(gateway?.call("orders.ofNotifications")).rejects.toMatchObject({ type: "REQUEST_TIMEOUT" });
  });

  it("a packet in another's name, under one's own subject, changes nothing", async () => {
    const [gateway, orders] = await Promise.all([start("gateway"), start("orders")]);
    await eventually(async () => expect(await gateway.call("orders.host")).toBe(orders.nodeID));
    const forger = await connect(natsAs(server, "partners"));
    const forged = { ver: "4", sender: orders.nodeID };
    const say = (kind: string, packet: object) =>
      forger.publish(`MOL-waybill.${kind}.partners.evil`, JSON.stringify(packet));
    say("DISCONNECT", forged);
    say("INFO", { ...forged, services: [], ipList: [], hostname: "evil", client: {}, config: {}, seq: 99 });
    say("INFO", { ...forged, sender: gateway.nodeID, services: [], instanceID: "evil", seq: 99 });
    await forger.flush();
    await delay(200);
    expect(await gateway.call("orders.host")).toBe(orders.nodeID);
    await forger.close();
  });
});
