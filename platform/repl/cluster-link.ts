import type { ServiceBroker } from "moleculer";
import { call } from "../../contracts/actions.ts";
import type { GaugeResult } from "../../mixins/health/health.mixin.ts";
import type { NodeState } from "../operations/operations-service.ts";
import { anonymous } from "./operator-broker.ts";

export interface Account {
  email: string;
  password: string;
}

/** Signs in and returns an access token. @throws UNAUTHENTICATED for a wrong password */
export async function signedIn(broker: ServiceBroker, account: Account): Promise<string> {
  const params = { ...account, userAgent: "console" };
  return (await call(broker, "identity.signIn", params, anonymous)).accessToken;
}

/** The gauges of all nodes. Replicas read the same database, so each gauge is returned once. */
export async function clusterGauges(broker: ServiceBroker): Promise<GaugeResult[]> {
  const nodes = broker.registry.getNodeList({ onlyAvailable: true, withServices: true }) as unknown as {
    id: string;
    services: { name: string }[];
  }[];
  const asked = nodes.filter(({ services }) => services.some(({ name }) => name === "operations"));
  const states = await Promise.all(
    asked.map(({ id }) => broker.call("operations.state", {}, { nodeID: id }) as Promise<NodeState>),
  );
  const gauges = states.flatMap((state) => state.gauges);
  return [...new Map(gauges.map((gauge) => [`${gauge.service} ${gauge.name}`, gauge])).values()];
}
