import type { Settings } from "../../lib/settings/settings.ts";
import type { StoreLocation } from "./port.ts";

/** The location of documents by the settings: a database of MongoDB, named by the namespace, or the service's PostgreSQL. */
export function documentStoreLocation(
  config: Pick<Settings, "MONGO_URL" | "NAMESPACE" | "POSTGRES_ACQUIRE_TIMEOUT_MS" | "REQUEST_TIMEOUT_MS">,
  postgresUrl: string,
): StoreLocation {
  return {
    mongoUrl: config.MONGO_URL,
    database: config.NAMESPACE,
    postgres: {
      url: postgresUrl,
      acquireTimeoutMs: config.POSTGRES_ACQUIRE_TIMEOUT_MS,
      requestTimeoutMs: config.REQUEST_TIMEOUT_MS,
    },
  };
}
