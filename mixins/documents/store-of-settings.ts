import type { Settings } from "../../lib/settings/settings.ts";
import type { Documents, StoredDocument, StorePlace } from "./documents.mixin.ts";

/**
 * Where the settings say that documents are kept: in MongoDB's database of this namespace, or else beside the tables of
 * the service.
 */
export function documentStore(
  config: Pick<Settings, "MONGO_URL" | "NAMESPACE" | "POSTGRES_ACQUIRE_TIMEOUT_MS">,
  postgresUrl: string,
): StorePlace {
  return {
    mongoUrl: config.MONGO_URL,
    database: config.NAMESPACE,
    postgres: { url: postgresUrl, acquireTimeoutMs: config.POSTGRES_ACQUIRE_TIMEOUT_MS },
  };
}

interface Watched<D extends StoredDocument> extends Pick<Documents<D>, "collection" | "available"> {}

/**
 * What a service's metrics tell of its collections. None of it makes the service unready: without the store
 * everything but reading histories works, and messages wait.
 */
export function documentGauges(collections: readonly Watched<never>[], inbox: { lagMs(): Promise<number> }) {
  return {
    documents_available: {
      about: "1 while the store of the collection can be reached.",
      label: "collection",
      read: () =>
        Object.fromEntries(collections.map(({ collection, available }) => [collection, available() ? 1 : 0])),
    },
    projection_oldest_seconds: {
      about: "Age of the oldest message that is not in the document store yet.",
      read: async () => Math.round(await inbox.lagMs()) / 1000,
    },
  };
}
