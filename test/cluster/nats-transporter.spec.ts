import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { type Context, ServiceBroker, type ServiceSchema } from "moleculer";
import { connect } from "nats";
import { newId } from "../../lib/ids.ts";
import { natsTransporter } from "../../mixins/transporter/nats.ts";
import { brokerOptions } from "../../platform/broker-options.ts";
import type { NatsServer } from "../servers/nats.ts";
import { eventually } from "../support/eventually.ts";
import { natsAs, startShippedNats } from "../support/nats.ts";

const BACK_MS = 5_000;
/** Nodes are checked every four seconds, and removed without a heartbeat for that time. */
const FORGOTTEN_MS = 20_000;
/** For calls that end when the test says so. */
const UNHURRIED_MS = 30_000;

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
/** Calls that take as long as their test wants. */
const slow = { begunOn: [] as string[], work: Promise.withResolvers<void>() };
const schemas: Record<string, ServiceSchema> = {
  orders: {
    name: "orders",
    actions: {
      where: (ctx: Context) => ctx.nodeID,
      host: (ctx: Context) => ctx.broker.nodeID,
      slowly: async (ctx: Context) => {
        slow.begunOn.push(ctx.broker.nodeID);
        await slow.work.promise;
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
      requestTimeoutMs: 1_800, // a call that the killed server lost is repeated within BACK_MS
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

/** The nodes that another one takes for being there. */
async function seenBy(broker: ServiceBroker): Promise<string[]> {
  const nodes = await broker.call<{ id: string; available: boolean }[]>("$node.list");
  return nodes.flatMap(({ id, available }) => (available ? [id] : []));
}

describe("nodes over NATS, each as the user of its service", () => {
  it("find each other, call, broadcast, and complete running calls when they stop", async () => {
    const [gateway, one, other, idle] = await Promise.all([
      start("gateway"),
      start("orders"),
      start("orders"),
      start("notifications"),
    ]);
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
    const running = Array.from({ length: 6 }, () =>
      gateway.call("orders.slowly", {}, { timeout: UNHURRIED_MS }),
    );
    await eventually(() => expect(slow.begunOn).toHaveLength(6));
    expect(slow.begunOn).toContain(one.nodeID);
    let stopped = false;
    const stopping = one.stop().then(() => {
      stopped = true;
    });
    // A node without calls that stops after it is through: by then this one would be, if it did not wait for its calls.
    await idle.stop();
    expect(stopped).toBe(false);
    slow.work.resolve();
    await stopping;
    expect(await Promise.all(running)).toEqual(Array(6).fill("done"));
    expect(await gateway.call("orders.host")).toBe(other.nodeID);
  });

  it("call each other again after a kill and restart of the server", async () => {
    const [gateway, orders] = await Promise.all([start("gateway"), start("orders")]);
    await eventually(async () => expect(await gateway.call("orders.host")).toBe(orders.nodeID));
    for (const away of ["for a moment", "until all are forgotten"]) {
      await server.kill();
      if (away === "until all are forgotten") {
        const alone = async () =>
          expect(await Promise.all([gateway, orders].map(seenBy))).toEqual([
            [gateway.nodeID],
            [orders.nodeID],
          ]);
        await eventually(alone, { timeoutMs: FORGOTTEN_MS });
      }
      await server.start();
      await eventually(async () => expect(await gateway.call("orders.host")).toBe(orders.nodeID), {
        timeoutMs: BACK_MS,
      });
    }
  });

  it("get no answer from a service that they may not call", async () => {
    const [gateway, orders, notifications] = await Promise.all(
      ["gateway", "orders", "notifications"].map((user) => start(user)),
    );
    await eventually(async () => {
      expect(await gateway?.call("notifications.host")).toBe(notifications?.nodeID);
    });
    await orders?.waitForServices("notifications", 60_000, 20);
    await gateway?.waitForServices("orders", 60_000, 20);
    await expect(gateway?.call("orders.ofNotifications")).rejects.toMatchObject({ type: "REQUEST_TIMEOUT" });
  });

  it("ignore a packet in the name of another node", async () => {
    const [gateway, orders] = await Promise.all([start("gateway"), start("orders")]);
    await eventually(async () => expect(await gateway.call("orders.host")).toBe(orders.nodeID));
    const forger = await connect({ ...natsAs(server, "partners"), reconnect: false });
    const ver = gateway.PROTOCOL_VERSION;
    const forged = { ver, sender: orders.nodeID };
    const say = (kind: string, packet: object) =>
      forger.publish(`MOL-waybill.${kind}.partners.evil`, JSON.stringify(packet));
    say("DISCONNECT", forged);
    say("INFO", { ...forged, services: [], ipList: [], hostname: "evil", client: {}, config: {}, seq: 99 });
    say("INFO", { ...forged, sender: gateway.nodeID, services: [], instanceID: "evil", seq: 99 });
    // Packets in its own name are accepted, also after packets in the names of others.
    const own = { ver, sender: "partners.evil", services: [], ipList: [], hostname: "evil" };
    say("INFO", { ...own, client: {}, config: {}, metadata: {}, instanceID: "evil", seq: 1 });
    await eventually(async () => {
      for (const node of [gateway, orders]) expect(await seenBy(node)).toContain(own.sender);
    });
    expect(await Promise.all([gateway, orders].map(seenBy))).toEqual(
      [gateway, orders].map(() => expect.arrayContaining([gateway.nodeID, orders.nodeID])),
    );
    expect(await gateway.call("orders.host")).toBe(orders.nodeID);
    await forger.close();
  });
});
