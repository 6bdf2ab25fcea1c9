import { join } from "node:path";
import { folderStorage } from "./folder.ts";
import type { Storage } from "./port.ts";

export * from "./port.ts";
export { folderStorage };

/** The store that the configuration chooses. */
export function openStorage(config: { readonly DATA_DIR: string }): Storage {
  return folderStorage(join(config.DATA_DIR, "media"));
}
