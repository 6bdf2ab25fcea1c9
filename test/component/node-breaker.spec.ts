import { setTimeout as delay } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { ServiceBroker } from "moleculer";
import { fail } from "../../contracts/errors.ts";
import { newId } from "../../lib/ids.ts";
import { brokerOptions } from "../../platform/broker-options.ts";
import { eventually } from "../support/eventually.ts";

/** The limit of calls that get no answer, and of those that get one. */
const TIMEOUT_MS = 150;
const ANSWERED_MS = 30_000;
/** More than any breaker needs to open. */
const CALLS = 60;

type Outcome = "fine" | "bank" | "database" | "slip" | "late";

/** A node that offers orders, and one that calls it, over the broker's own transport. */
async function start() {
  const namespace = newId();
  const node = (nodeID: string) =>
    new ServiceBroker(
      brokerOptions({
        ...{ nodeID, namespace, transporter: { type: "Fake" }, logLevel: "fatal", json: false },
        requestTimeoutMs: 30_000,
        middlewares: [],
      }),
    );
  const [orders, gateway] = [node("orders"), node("gateway")];
  const confirm = async ({ outcome }: { outcome: Outcome }): Promise<string> => {
    if (outcome === "bank") throw fail("BANK_UNAVAILABLE");
    if (outcome === "database") throw fail("SERVICE_UNAVAILABLE", "The database cannot be reached.");
    if (outcome === "slip") throw new TypeError("undefined is not a function");
    if (outcome === "late") await delay(4 * TIMEOUT_MS);
    return "confirmed";
  };
  orders.createService({ name: "orders", actions: { confirm: ({ params }) => confirm(params as never) } });
  await Promise.all([orders.start(), gateway.start()]);
  await gateway.waitForServices("orders", 60_000, 20);
  return {
    orders,
    confirm: (outcome: Outcome = "fine", timeout = outcome === "late" ? TIMEOUT_MS : ANSWERED_MS) =>
      gateway
        .call("orders.confirm", { outcome }, { timeout })
        .catch(({ type, name }: { type?: string; name: string }) => type ?? name),
    stop: () => Promise.all([gateway.stop(), orders.stop()]),
  };
}

describe("the calls of one node to another", () => {
  let nodes: Awaited<ReturnType<typeof start>>;
  beforeEach(async () => {
    nodes = await start();
  });
  afterEach(() => nodes.stop());

  it.each([
    ["a bank that is dead", "bank"],
    ["a database that answers too late", "database"],
    ["a row that no code expects", "slip"],
    ["something that takes too long", "late"],
  ] as const)("beside many that fail for %s, are answered as usual", async (_, outcome) => {
    for (let round = 0; round < 3; round++) {
      await Promise.all(Array.from({ length: CALLS / 3 }, () => nodes.confirm(outcome)));
      expect(await Promise.all([1, 2, 3].map(() => nodes.confirm()))).toEqual(Array(3).fill("confirmed"));
    }
  });

  it("without an answer, are refused without waiting, and answered again soon after its recovery", async () => {
    const { transit } = nodes.orders;
    if (!transit) throw new Error("the node has no transport");
    const send = transit.sendResponse;
    transit.sendResponse = async () => undefined;
    await eventually(async () => {
      for (let call = 0; call < 5; call++) await nodes.confirm("fine", TIMEOUT_MS);
      expect(await nodes.confirm("fine", TIMEOUT_MS)).toBe("SERVICE_NOT_AVAILABLE");
    });
    transit.sendResponse = send;
    await eventually(async () => expect(await nodes.confirm()).toBe("confirmed"));
  });

  it("after its recovery, continue after a first answer that is an error of one caller", async () => {
    const { transit } = nodes.orders;
    if (!transit) throw new Error("the node has no transport");
    const send = transit.sendResponse;
    transit.sendResponse = async () => undefined;
    await eventually(async () => {
      for (let call = 0; call < 5; call++) await nodes.confirm("fine", TIMEOUT_MS);
      expect(await nodes.confirm("fine", TIMEOUT_MS)).toBe("SERVICE_NOT_AVAILABLE");
    });
    transit.sendResponse = send;
    await eventually(async () => expect(await nodes.confirm("bank")).toBe("BANK_UNAVAILABLE"));
    expect(await nodes.confirm()).toBe("confirmed");
  });
});
