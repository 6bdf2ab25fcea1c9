import type { Middleware, ServiceSchema } from "moleculer";
import type { SharedServer } from "moleculer-grpc";
import type { ServiceName } from "../lib/settings/catalogue.ts";
import { tokenIssuer } from "../lib/settings/issuer.ts";
import type { Settings } from "../lib/settings/settings.ts";
import { callerMiddleware } from "../mixins/caller/caller.middleware.ts";
import { tracing } from "../mixins/tracing/tracing.middleware.ts";
import type { MessageBus } from "../providers/message-bus/index.ts";
import { nodeBridge } from "./grpc.ts";

export interface ServiceDeps {
  config: Settings;
  messageBus: MessageBus;
}

type Factory = (deps: ServiceDeps) => ServiceSchema;

/** Factories of the services. A process loads only the modules of its own services. */
const factories: Record<ServiceName, () => Promise<Factory>> = {
  api: async () => (await import("../services/api/api.service.ts")).apiService,
  identity: async () => (await import("../services/identity/identity.service.ts")).identityService,
  media: async () => (await import("../services/media/media.service.ts")).mediaService,
  orders: async () => (await import("../services/orders/orders.service.ts")).ordersService,
  partners: async () => (await import("../services/partners/partners.service.ts")).partnersService,
  notifications: async () =>
    (await import("../services/notifications/notifications.service.ts")).notificationsService,
};

/** Loads the modules of these services. @returns their factories */
export async function serviceFactories(names: readonly ServiceName[]): Promise<Map<ServiceName, Factory>> {
  return new Map(await Promise.all(names.map(async (name) => [name, await factories[name]()] as const)));
}

/** The services with an inbox. The in-process message bus accepts no message before all of them have subscribed. */
export const consumers: readonly ServiceName[] = ["orders", "partners", "notifications", "identity"];

/** The middlewares of every node: tracing, the caller's identity, and the gRPC bridge. */
export function nodeMiddlewares(settings: Settings, listener: SharedServer): Middleware[] {
  return [tracing(), callerMiddleware({ issuer: tokenIssuer(settings) }), nodeBridge(settings, listener)];
}
