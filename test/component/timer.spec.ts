import { describe, expect, it } from "@jest/globals";
import { timer } from "../../mixins/timer/timer.mixin.ts";
import { eventually } from "../support/eventually.ts";
import { startService } from "../support/messaging.ts";

describe("timer", () => {
  it("runs after its service has started, and again after a failed run", async () => {
    const order: string[] = [];
    const sweep = timer({
      name: "sweep",
      intervalMs: 5,
      run: async () => {
        order.push("run");
        throw new Error("as the test wants it");
      },
    });
    const broker = await startService({
      mixins: [{ started: async () => void order.push("mixin") }, sweep.mixin],
      started: async () => void order.push("service"),
    });
    await eventually(() => expect(order.length).toBeGreaterThan(4));
    await broker.stop();
    expect(order.slice(0, 4)).toEqual(["mixin", "service", "run", "run"]);
  });

  it("woken during a run, runs again after it; stopped, waits for the run and does not run again", async () => {
    let inside = 0;
    let most = 0;
    let runs = 0;
    let open: () => void = () => undefined;
    const sweep = timer({
      name: "sweep",
      intervalMs: 1_000_000,
      run: async () => {
        inside += 1;
        most = Math.max(most, inside);
        await new Promise<void>((resolve) => {
          open = resolve;
        });
        inside -= 1;
        runs += 1;
      },
    });
    const broker = await startService({ mixins: [sweep.mixin] });
    sweep.wake();
    sweep.wake();
    open();
    await eventually(() => expect({ runs, inside }).toEqual({ runs: 1, inside: 1 }));
    // Another one stops after it and has nothing to wait for: by then this one would have stopped, if it did not wait.
    const idle = await startService({
      mixins: [timer({ name: "idle", intervalMs: 1_000_000, run: async () => undefined }).mixin],
    });
    let stopped = false;
    const stopping = broker.stop().then(() => {
      stopped = true;
    });
    await idle.stop();
    expect({ stopped, inside }).toEqual({ stopped: false, inside: 1 });
    open();
    await stopping;
    sweep.wake();
    expect({ runs, inside, most }).toEqual({ runs: 2, inside: 0, most: 1 });
  });
});
