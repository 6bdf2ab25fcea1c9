import type * as real from "../../../services/partners/store/partners.repository.ts";
import { statement } from "../memory.ts";

export * from "../../../services/partners/store/partners.repository.ts";

export const findPartner: typeof real.findPartner = (db, id) =>
  statement(db, (view) => view.get<real.PartnerRow>("partners", id));
