import type { Storage } from "../../providers/storage/index.ts";

/** Dependencies of the actions and workers of this service. */
export interface MediaDependencies {
  storage: Storage;
}
