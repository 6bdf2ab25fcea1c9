import type { Context, Middleware, Service, ServiceBroker } from "moleculer";
import { call } from "../../contracts/actions.ts";
import { type Clock, systemClock } from "../../lib/clock.ts";
import { registerGauges } from "../health/health.mixin.ts";
import { type PlatformClientGate, platformClientGate } from "./client-gate.ts";

export interface GrpcClientsOptions {
  /** Time limit of a read from Identity. */
  requestTimeoutMs: number;
  clock?: Clock;
}

/**
 * The gate for gRPC clients of one node. Identity stores the clients; the node reads them at the first call, after the event
 * `grpcClient.changed`, and periodically.
 */
export function grpcClients({ requestTimeoutMs, clock = systemClock }: GrpcClientsOptions): {
  gate: PlatformClientGate;
  middleware: Middleware;
} {
  let broker: ServiceBroker | undefined;
  const gate = platformClientGate({
    clock,
    async source(used) {
      if (!broker) throw new Error("the node has not started");
      const options = { timeout: requestTimeoutMs, retries: 0 };
      return (await call(broker, "identity.grpcClientKeys", { used }, options)).items;
    },
  });
  let isCounted = false;
  const middleware: Middleware = {
    name: "GrpcClients",
    created(own) {
      broker = own;
      own.createService({
        name: "$grpcClients",
        events: {
          "grpcClient.changed"(ctx: Context<{ clientId?: unknown }>) {
            const { clientId } = ctx.params;
            if (typeof clientId === "string") gate.changed(clientId);
          },
        },
      });
    },
    async serviceStarted(service: Service) {
      if (!service.schema.grpc || isCounted) return;
      isCounted = true;
      registerGauges(service, {
        grpc_client_calls_total: {
          about: "Calls of gRPC clients that were admitted.",
          label: "client",
          read: gate.admitted,
        },
        grpc_client_refusals_total: {
          about: "Calls of gRPC clients that were refused: by key, scope or limit.",
          label: "client",
          read: gate.refused,
        },
      });
    },
    async stopped() {
      gate.stop();
    },
  };
  return { gate, middleware };
}
