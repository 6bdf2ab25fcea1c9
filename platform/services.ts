import { fileURLToPath } from "node:url";
import type { Middleware, ServiceSchema } from "moleculer";
import type { ServiceName } from "../lib/config/catalogue.ts";
import type { Settings } from "../lib/config/config.ts";
import { callerMiddleware } from "../mixins/caller/caller.middleware.ts";
import { grpcBridge } from "../mixins/grpc/index.ts";
import { tracing } from "../mixins/tracing/index.ts";
import type { Carrier } from "../providers/carrier/index.ts";
import { apiService } from "../services/api/api.service.ts";
import { identityService } from "../services/identity/identity.service.ts";
import { mediaService } from "../services/media/media.service.ts";
import { notificationsService } from "../services/notifications/notifications.service.ts";
import { ordersService } from "../services/orders/orders.service.ts";
import { partnersService } from "../services/partners/partners.service.ts";

export interface ServiceDeps {
  config: Settings;
  carrier: Carrier;
}

/** How each service of SERVICES is made. */
export const services: Record<ServiceName, (deps: ServiceDeps) => ServiceSchema> = {
  api: apiService,
  identity: identityService,
  media: mediaService,
  orders: ordersService,
  partners: partnersService,
  notifications: notificationsService,
};

/** The services with an inbox: the in-process carrier takes nothing before all of them are there. */
export const consumers: readonly ServiceName[] = ["orders", "partners", "notifications", "identity"];

/**
 * What every node has around its actions: a span, who calls, and the bridge, which calls the actions of a proto by
 * gRPC and offers those of this node.
 */
export function nodeMiddlewares(settings: Settings, grpcPort: number): Middleware[] {
  return [
    tracing(),
    callerMiddleware({ issuer: settings.PUBLIC_URL }),
    grpcBridge({
      secret: settings.BRIDGE_SECRET,
      host: settings.GRPC_HOST,
      port: grpcPort,
      announce: settings.GRPC_ANNOUNCE,
      protoDir: fileURLToPath(new URL("../proto", import.meta.url)),
    }),
  ];
}
