import { Discoverers } from "moleculer";
import { natsClientOf } from "./moleculer-internals.ts";

/**
 * Moleculer's own discoverer, which keeps the known nodes while NATS does not answer. Without NATS no heartbeat arrives, and
 * Moleculer would drop every node after the time-out of heartbeats, although the bridge between the nodes works. Calls
 * over the bridge go on; a node that really ended fails its calls at once, and the node breaker leaves it out.
 *
 * NATS answers when it has returned a ping: each heartbeat sends one.
 */
export class KnownNodesDiscoverer extends Discoverers.Local {
  readonly #silentAfterMs: number;
  #answeredMs = performance.now();
  #isAsking = false;

  /** @param silentAfterMs NATS counts as away after this time without an answer */
  constructor(silentAfterMs: number) {
    super();
    this.#silentAfterMs = silentAfterMs;
  }

  override sendHeartbeat(): Promise<void> {
    void this.#ask();
    return super.sendHeartbeat();
  }

  override checkRemoteNodes(): void {
    if (performance.now() - this.#answeredMs <= this.#silentAfterMs) {
      super.checkRemoteNodes();
      return;
    }
    // Their time-out begins anew when NATS is back.
    const nowSeconds = Math.round(process.uptime());
    for (const node of this.registry.nodes.toArray()) {
      if (!node.local && node.available) node.lastHeartbeatTime = nowSeconds;
    }
  }

  async #ask(): Promise<void> {
    if (this.#isAsking) return;
    this.#isAsking = true;
    try {
      await natsClientOf(this.broker)?.flush();
      this.#answeredMs = performance.now();
    } catch {
      // The connection is closed: the broker stops.
    } finally {
      this.#isAsking = false;
    }
  }
}
