import { action } from "./action.ts";
import { boolean, integer, nothing, object, stored, text, uuid } from "./schema.ts";

/** Bytes travel as base64: the transporter carries JSON, and an avatar is small. */
const base64 = { type: "string", max: 7_000_000, pattern: /^[A-Za-z0-9+/]*={0,2}$/ } as const;

/** The media types that an upload may have. */
export const IMAGE_TYPES = ["image/png", "image/jpeg", "image/webp"] as const;
export const IMAGE_WANTED = "Send a JPEG, PNG or WebP image.";
/** HEIC is the default of many phones' cameras, so its error explains how to get a supported photo. */
export const HEIF_REFUSED = [
  "HEIC, HEIF and AVIF images are not read. Send a JPEG, PNG or WebP image: convert the photo before the upload,",
  "or set the camera to JPEG (on an iPhone: Settings, Camera, Formats, Most Compatible).",
].join(" ");

export const image = object({ contentType: text(100), etag: text(100), base64 });

export const mediaActions = {
  /** Decodes the image and encodes it anew, without its metadata and file name. */
  "media.putAvatar": action(object({ base64 }), object({ etag: text(100), bytes: integer(1, 5_000_000) })),
  "media.getAvatar": action(object({}), image, { idempotent: true }),
  /** The broker does not repeat it: a repeat would delete a picture that was uploaded in between. */
  "media.deleteAvatar": action(object({}), nothing),
  /** For the deliverer of the order. Replaces an earlier photo; `orders.deliver` takes its id. */
  "media.putProof": action(object({ orderId: uuid, base64 }), object({ photoId: text(100) })),
  /** For Orders: whether the caller has uploaded this photo for this order. */
  "media.hasProof": action(
    stored(object({ orderId: uuid, photoId: text(100) })),
    object({ exists: boolean }),
    {
      idempotent: true,
    },
  ),
  "media.getProof": action(object({ orderId: uuid }), image, { idempotent: true }),
} as const;
