import type * as real from "../../../services/partners/store/products.repository.ts";
import { statement } from "../memory.ts";
import type { OfferRecord } from "./reservations.ts";

export * from "../../../services/partners/store/products.repository.ts";

export const offersOf: typeof real.offersOf = (db, partnerId, productIds) =>
  statement(db, (view) =>
    productIds.flatMap((productId) => {
      const offer = view.get<OfferRecord>("availability", `${partnerId}/${productId}`);
      return offer ? [{ ...offer, version: 1 }] : [];
    }),
  );
