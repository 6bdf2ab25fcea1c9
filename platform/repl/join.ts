import type { ServiceBroker } from "moleculer";
import type { ParsedSettings } from "../../lib/settings/settings.ts";
import type { GaugeResult } from "../../mixins/health/health.mixin.ts";
import { connectToPlatform } from "../control/client.ts";
import { SocketTransporter } from "../control/socket-transporter.ts";
import { dataDirOf } from "../settings.ts";
import { type Account, clusterGauges, signedIn } from "./cluster-link.ts";
import { operatorBroker } from "./operator-broker.ts";

const OPERATOR = "operator";
/** The services that the commands call. The console waits for them. */
const CALLED_SERVICES = ["identity", "orders", "partners", "notifications"];

/** The platform as the console sees it. */
export interface Joined {
  readonly broker: ServiceBroker;
  /** The current gauges of the services. */
  gauges(): Promise<GaugeResult[]>;
  /** Called when the platform has stopped. */
  onLost(listener: () => void): void;
  leave(): Promise<void>;
}

/**
 * Joins the platform of this machine over its control socket.
 * @throws NotRunning
 */
export async function joinHere(config: ParsedSettings, customCommands: unknown[]): Promise<Joined> {
  const platform = await connectToPlatform(dataDirOf(config));
  const { namespace, services } = await platform.request("hello", {});
  const node = {
    namespace,
    nodeID: `${OPERATOR}-${process.pid}`,
    transporter: new SocketTransporter(platform),
    services,
    token: async () => (await platform.request("token", {})).token,
  };
  const broker = await operatorBroker(node, customCommands);
  let leaving = false;
  return {
    broker,
    gauges: async () => (await platform.request("gauges", {})).gauges,
    onLost: (listener) => platform.onLost(() => leaving || listener()),
    async leave() {
      leaving = true;
      await broker.stop();
      platform.close();
    },
  };
}

/**
 * Joins a cluster over NATS, as the NATS user for operators. For the services, the caller is the signed-in account.
 * @param account returns an admin's account; called at the first call of an action
 * @throws NotRunning
 */
export async function joinCluster(
  config: ParsedSettings & { NATS_URL: string },
  account: () => Promise<Account>,
  customCommands: unknown[],
): Promise<Joined> {
  // Loads the NATS client only here, because it takes time.
  const { natsTransport } = await import("../nats-transport.ts");
  const nats = natsTransport(config);
  const { transporter } = nats.transport();
  const node = {
    namespace: nats.namespace,
    nodeID: nats.nodeIdOf(config.NATS_USER ?? OPERATOR),
    transporter,
    services: CALLED_SERVICES,
    token: async (broker: ServiceBroker) => await signedIn(broker, await account()),
  };
  const broker = await operatorBroker(node, customCommands);
  return {
    broker,
    gauges: () => clusterGauges(broker),
    // The NATS client reconnects by itself.
    onLost: () => undefined,
    leave: () => broker.stop(),
  };
}
