import type { Documents } from "./documents.mixin.ts";

type Collection = Pick<Documents<never>, "collection" | "available">;

/** The metrics of a service about its collections. */
export function documentGauges(collections: readonly Collection[], inbox: { lagMs(): Promise<number> }) {
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
