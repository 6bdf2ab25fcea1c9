import { connect } from "node:net";
import { describe, expect, it } from "@jest/globals";
import type { Middleware, ServiceSchema } from "moleculer";
import { freePort } from "../../platform/free-port.ts";
import {
  cluster,
  EMPTY_ECHO,
  isRetryable,
  offeredBy,
  type ProbeState,
  plainClient,
  probeService,
  SERVICE,
} from "../support/bridge.ts";
import { eventually } from "../support/eventually.ts";

/** Most of the time goes by waiting for nodes to find each other, so these wait all at once. */
function concurrently(name: string, test: (nodes: ReturnType<typeof cluster>) => Promise<void>): void {
  it.concurrent(name, async () => {
    const nodes = cluster();
    try {
      await test(nodes);
    } finally {
      await nodes.stopAll();
    }
  });
}

const retries = {
  retryPolicy: { enabled: false, retries: 2, delay: 10, maxDelay: 50, factor: 2, check: isRetryable },
};

/** Makes a node announce another address than the one that its bridge listens on. */
function announcing(address: string | undefined): Middleware {
  return {
    name: "announcing",
    async starting(broker) {
      broker.metadata.grpc = address;
    },
  };
}

function isOpen(address: string): Promise<boolean> {
  const [host, port] = address.split(":");
  return new Promise((done) => {
    const socket = connect({ host, port: Number(port) });
    socket.once("connect", () => {
      socket.destroy();
      done(true);
    });
    socket.once("error", () => done(false));
  });
}

describe("nodes that join and leave", () => {
  concurrently("two servers share the calls, and each answers its own", async (nodes) => {
    const [first, second, { broker }] = await Promise.all([
      nodes.server({ nodeID: "first" }),
      nodes.server({ nodeID: "second" }),
      nodes.start({ nodeID: "caller" }),
    ]);
    await offeredBy(broker, "probe.echo", 2);
    await Promise.all(Array.from({ length: 10 }, () => broker.call("probe.echo", EMPTY_ECHO)));
    expect(first.state.contexts).toHaveLength(5);
    expect(second.state.contexts).toHaveLength(5);
    expect(first.address).not.toBe(second.address);
  });

  concurrently(
    "a server whose port is closed is never reached round the bridge: SERVICE_UNAVAILABLE, 503",
    async (nodes) => {
      const closed = `127.0.0.1:${await freePort()}`;
      const lie = announcing(closed);
      const server = await nodes.server({ nodeID: "server", middlewares: [lie] });
      const { broker } = await nodes.start({ nodeID: "caller" });
      await offeredBy(broker, "probe.echo", 1);
      const call = broker.call("probe.whoCalls");
      await expect(call).rejects.toMatchObject({ type: "SERVICE_UNAVAILABLE", code: 503, retryable: true });
      expect(server.state.contexts).toEqual([]);
      await expect(broker.call("probe.nodeOf")).resolves.toEqual({ node: "server" });
    },
  );

  concurrently(
    "a server that announces no address is not reached by the transporter instead",
    async (nodes) => {
      const silent: Middleware = {
        name: "silent",
        starting: async (broker) => void delete broker.metadata.grpc,
      };
      const server = await nodes.server({ nodeID: "server", middlewares: [silent] });
      const { broker } = await nodes.start({ nodeID: "caller" });
      await offeredBy(broker, "probe.echo", 1);
      const call = broker.call("probe.whoCalls");
      await expect(call).rejects.toMatchObject({ type: "SERVICE_UNAVAILABLE", retryable: true });
      expect(server.state.contexts).toEqual([]);
    },
  );

  concurrently(
    "a node with another secret is refused, and its users get INTERNAL, not a request to sign in",
    async (nodes) => {
      const server = await nodes.server({ nodeID: "server" });
      const secret = "a secret of another platform altogether";
      const { broker } = await nodes.start({ nodeID: "stranger", bridge: { secret } });
      await offeredBy(broker, "probe.echo", 1);
      await expect(broker.call("probe.echo", EMPTY_ECHO)).rejects.toMatchObject({
        type: "INTERNAL",
        code: 500,
      });
      expect(server.state.contexts).toEqual([]);
    },
  );

  concurrently(
    "whose secret is being replaced, reach each other at every step, in either order",
    async (nodes) => {
      const [former, next] = [
        "the former secret of this very platform",
        "the next secret of this very platform",
      ];
      // The steps of docs/security.md; while one is taken, some nodes stand before it and some behind.
      const steps = [
        { secret: former },
        { secret: former, previousSecret: next },
        { secret: next, previousSecret: former },
        { secret: next },
      ];
      for (const [index, before] of steps.slice(0, -1).entries()) {
        const after = steps[index + 1] as typeof before;
        for (const [calling, called] of [
          [before, after],
          [after, before],
        ]) {
          const server = await nodes.server({ nodeID: "server", bridge: called });
          const { broker } = await nodes.start({ nodeID: "caller", bridge: calling });
          await offeredBy(broker, "probe.echo", 1);
          await expect(broker.call("probe.echo", EMPTY_ECHO)).resolves.toBeDefined();
          await Promise.all([nodes.stop(broker), nodes.stop(server.broker)]);
        }
      }
    },
  );

  concurrently(
    "only the broker repeats, only what may be repeated, and each time on another node",
    async (nodes) => {
      const closed = `127.0.0.1:${await freePort()}`;
      const lie = announcing(closed);
      const [, well, { broker }] = await Promise.all([
        nodes.server({ nodeID: "ill", middlewares: [lie] }),
        nodes.server({ nodeID: "well" }),
        nodes.start({ nodeID: "caller", broker: retries }),
      ]);
      await offeredBy(broker, "probe.echo", 2);
      for (let call = 0; call < 6; call++) await broker.call("probe.echo", EMPTY_ECHO);
      expect(well.state.contexts).toHaveLength(6);
      const outcomes: string[] = [];
      for (let call = 0; call < 6; call++) {
        await broker.call("probe.whoCalls").then(
          () => outcomes.push("answered"),
          ({ type }) => outcomes.push(type),
        );
      }
      outcomes.sort();
      expect(outcomes).toEqual([...Array(3).fill("SERVICE_UNAVAILABLE"), ...Array(3).fill("answered")]);
    },
  );

  concurrently(
    "a failure that may be repeated is repeated by the caller alone, not once more by the callee",
    async (nodes) => {
      let runs = 0;
      const services = (state: ProbeState): ServiceSchema[] => [
        probeService(state, {
          actions: {
            ...probeService(state).actions,
            echo: {
              retryPolicy: { enabled: true },
              handler() {
                runs += 1;
                throw Object.assign(new Error("later"), {
                  name: "MoleculerRetryableError",
                  code: 503,
                  retryable: true,
                });
              },
            },
          },
        }),
      ];
      await nodes.start({ nodeID: "server", services, broker: retries });
      const { broker } = await nodes.start({ nodeID: "caller", broker: retries });
      await offeredBy(broker, "probe.echo", 1);
      await expect(broker.call("probe.echo", EMPTY_ECHO)).rejects.toMatchObject({
        message: "later",
        code: 503,
      });
      expect(runs).toBe(3);
    },
  );

  concurrently(
    "a server that stops, answers what is under way, takes nothing new, and closes its port",
    async (nodes) => {
      const server = await nodes.server({ nodeID: "server" });
      const { broker } = await nodes.start({ nodeID: "caller" });
      await offeredBy(broker, "probe.wait", 1);
      const underWay = Array.from({ length: 20 }, (_, key) => broker.call("probe.wait", { key: `${key}` }));
      await eventually(() => expect(server.state.started).toHaveLength(20));
      const stopping = nodes.stop(server.broker);
      await offeredBy(broker, "probe.wait", 0);
      await expect(broker.call("probe.wait", { key: "new" })).rejects.toMatchObject({
        type: "SERVICE_NOT_AVAILABLE",
      });
      for (const done of server.state.waiting.values()) done();
      await expect(Promise.all(underWay)).resolves.toHaveLength(20);
      await stopping;
      await expect(isOpen(server.address)).resolves.toBe(false);
    },
  );

  concurrently(
    "a server that begins to stop, announces it and still answers clients without the announcement",
    async (nodes) => {
      let client: ReturnType<typeof plainClient> | undefined;
      const seen: unknown[] = [];
      const atTheStop: Middleware = {
        name: "at the stop",
        async stopping() {
          seen.push(await client?.health(SERVICE));
          seen.push((await client?.call("Echo", { ...EMPTY_ECHO, colour: 1 }))?.colour);
        },
      };
      const server = await nodes.server({ nodeID: "server", middlewares: [atTheStop] });
      client = plainClient(server.address);
      await expect(client.health(SERVICE)).resolves.toBe("SERVING");
      await nodes.stop(server.broker);
      expect(seen).toEqual(["NOT_SERVING", 1]);
      client.close();
    },
  );

  concurrently("a server that comes back at another address is found there", async (nodes) => {
    const before = await nodes.server({ nodeID: "server" });
    const { broker } = await nodes.start({ nodeID: "caller" });
    await offeredBy(broker, "probe.echo", 1);
    await broker.call("probe.echo", EMPTY_ECHO);
    await nodes.stop(before.broker);
    const after = await nodes.server({ nodeID: "server" });
    await offeredBy(broker, "probe.echo", 1);
    await broker.call("probe.echo", EMPTY_ECHO);
    expect(after.address).not.toBe(before.address);
    expect(after.state.contexts).toHaveLength(1);
  });
});
