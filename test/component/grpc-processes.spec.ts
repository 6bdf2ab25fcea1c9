import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { resolve } from "node:path";
import { afterAll, describe, expect, it } from "@jest/globals";
import { ServiceBroker } from "moleculer";
import { newId } from "../../lib/ids.ts";
import { freePort } from "../../platform/free-port.ts";
import { EMPTY_ECHO, offeredBy, probeBridge, tcpNode } from "../support/bridge.ts";

/** Processes take seconds to start where the machine has other work. */
const PROCESSES_MS = 60_000;
const CHILD = resolve(import.meta.dirname, "../support/bridge-child.ts");

describe("nodes in separate processes", () => {
  const children = new Set<ChildProcess>();
  let caller: ServiceBroker | undefined;
  afterAll(async () => {
    for (const child of children) child.kill("SIGKILL");
    await caller?.stop();
  });

  async function child(nodeID: string, namespace: string, urls: string[]): Promise<ChildProcess> {
    const argument = JSON.stringify({ nodeID, namespace, urls });
    const process = fork(CHILD, [argument], { execArgv: ["--disable-warning=ExperimentalWarning"] });
    children.add(process);
    await once(process, "message");
    return process;
  }

  it(
    "after a kill of one of two, refuse its running calls at once, and later calls succeed",
    async () => {
      const namespace = newId();
      const names = ["caller", "first", "second"];
      const urls = await Promise.all(
        names.map(async (name) => `tcp://127.0.0.1:${await freePort()}/${name}`),
      );
      const broker = new ServiceBroker({
        ...tcpNode("caller", namespace, urls),
        middlewares: [probeBridge()],
      });
      caller = broker;
      const [first] = await Promise.all([
        child("first", namespace, urls),
        child("second", namespace, urls),
        broker.start(),
      ]);
      await offeredBy(broker, "probe.echo", 2);

      const hanging = broker.call("probe.wait", { key: "x" }, { nodeID: "first" });
      const cut = expect(hanging).rejects.toMatchObject({ type: "SERVICE_UNAVAILABLE" });
      for (let big = 0; big < 100; big++) {
        if (big === 50) first.kill("SIGKILL");
        await expect(broker.call("probe.echo", { ...EMPTY_ECHO, big })).resolves.toMatchObject({ big });
      }
      await cut;
    },
    PROCESSES_MS,
  );
});
