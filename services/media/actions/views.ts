import { hash } from "node:crypto";
import type { Result } from "../../../contracts/actions.ts";
import { fail } from "../../../contracts/errors.ts";
import { IMAGE_TYPE } from "../use-cases/images.ts";

const ETAG_LENGTH = 32;

/** @throws NOT_FOUND without a picture */
export function imageView(picture: Buffer | undefined): Result<"media.getAvatar"> {
  if (!picture) throw fail("NOT_FOUND");
  return { contentType: IMAGE_TYPE, etag: etagOf(picture), base64: picture.toString("base64") };
}

export function etagOf(picture: Buffer): string {
  return hash("sha256", picture, "hex").slice(0, ETAG_LENGTH);
}
