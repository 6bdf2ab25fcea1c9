import { join } from "node:path";
import { folderStorage } from "./folder.ts";
import type { Storage } from "./port.ts";
import { type S3Settings, s3Storage } from "./s3.ts";

export * from "./port.ts";
export { folderStorage, s3Storage };

/** The configured store: the S3 server of S3_ENDPOINT, else a folder. */
export function openStorage(config: { readonly DATA_DIR: string } & Partial<S3Settings>): Storage {
  return config.S3_ENDPOINT === undefined
    ? folderStorage(join(config.DATA_DIR, "media"))
    : s3Storage(config as S3Settings);
}
