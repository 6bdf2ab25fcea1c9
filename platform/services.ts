import type { ServiceSchema } from "moleculer";
import type { ServiceName } from "../lib/settings/catalogue.ts";

/** The files of the services, each with its schema as default export. A process loads only those of its own services. */
const files: Record<ServiceName, () => Promise<{ default: ServiceSchema }>> = {
  api: () => import("../services/api/api.service.ts"),
  identity: () => import("../services/identity/identity.service.ts"),
  media: () => import("../services/media/media.service.ts"),
  orders: () => import("../services/orders/orders.service.ts"),
  partners: () => import("../services/partners/partners.service.ts"),
  notifications: () => import("../services/notifications/notifications.service.ts"),
};

/** Loads the files of these services. @returns their schemas */
export async function serviceSchemas(
  names: readonly ServiceName[],
): Promise<Map<ServiceName, ServiceSchema>> {
  return new Map(
    await Promise.all(names.map(async (name) => [name, (await files[name]()).default] as const)),
  );
}

/** The services with an inbox. The in-process message bus accepts no message before all of them have subscribed. */
export const consumers: readonly ServiceName[] = ["orders", "partners", "notifications", "identity"];

/** The name of a node in its id and its certificate: of the gateway, or of the first of its services. */
export function nodeNameOf(services: readonly [ServiceName, ...ServiceName[]]): string {
  return services.includes("api") ? "gateway" : services[0];
}
