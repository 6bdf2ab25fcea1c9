import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { ServiceBroker } from "moleculer";
import { newId } from "../../lib/ids.ts";
import { brokerOptions } from "../../platform/broker-options.ts";
import { eventually } from "../support/eventually.ts";

interface Nodes {
  get(nodeID: string): { available: boolean } | undefined;
  disconnected(nodeID: string, unexpected: boolean): void;
}

describe("a node that has left", () => {
  let staying: ServiceBroker;
  let other: ServiceBroker;
  const node = (nodeID: string, namespace: string) =>
    new ServiceBroker(
      brokerOptions({
        ...{ nodeID, namespace, transporter: { type: "Fake" }, logLevel: "fatal", json: false },
        requestTimeoutMs: 30_000,
        middlewares: [],
      }),
    );
  const known = () => (staying.registry as unknown as { nodes: Nodes }).nodes;

  beforeEach(async () => {
    const namespace = newId();
    staying = node("staying", namespace);
    other = node("other", namespace);
    await Promise.all([staying.start(), other.start()]);
    await eventually(() => expect(known().get("other")).toMatchObject({ available: true }));
  });
  afterEach(() => Promise.all([staying.stop(), other.stop()]));

  it("in order, is removed, so that its missing heartbeat raises no warning", async () => {
    await other.stop();
    await eventually(() => expect(known().get("other")).toBeUndefined());
  });

  it("without a word, stays known as offline", () => {
    known().disconnected("other", true);
    expect(known().get("other")).toMatchObject({ available: false });
  });

  it("is known again after its return", async () => {
    await other.stop();
    await eventually(() => expect(known().get("other")).toBeUndefined());
    await other.start();
    await eventually(() => expect(known().get("other")).toMatchObject({ available: true }));
  });
});
