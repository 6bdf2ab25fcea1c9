import { action } from "./action.ts";
import { boolean, integer, nothing, object, stored, text, uuid } from "./schema.ts";

/** Bytes travel as base64: the transporter carries JSON, and an avatar is small. */
const base64 = { type: "string", max: 7_000_000, pattern: /^[A-Za-z0-9+/]*={0,2}$/ } as const;

/** The media types that an upload may have. */
export const IMAGE_TYPES = ["image/png", "image/jpeg", "image/webp"] as const;
export const IMAGE_WANTED = "Send a JPEG, PNG or WebP image.";
/** HEIC is the default of many phones' cameras, so its refusal says how to get a photo that is read. */
export const HEIF_REFUSED = [
  "HEIC, HEIF and AVIF images are not read. Send a JPEG, PNG or WebP image: convert the photo before the upload,",
  "or set the camera to JPEG (on an iPhone: Settings, Camera, Formats, Most Compatible).",
].join(" ");

export const image = object({ contentType: text(100), etag: text(100), base64 });

export const mediaActions = {
  /** Decodes, strips and re-encodes whatever image it is given; the name and metadata are forgotten. */
  "media.putAvatar": action(object({ base64 }), object({ etag: text(100), bytes: integer(1, 5_000_000) })),
  "media.getAvatar": action(object({}), image, { idempotent: true }),
  /** Not repeated by the broker: a repeat would delete a picture that was uploaded in between. */
  "media.deleteAvatar": action(object({}), nothing),
  /** For the deliverer who has the order, in place of the one they took before; its id goes with the delivery. */
  "media.putProof": action(object({ orderId: uuid, base64 }), object({ photoId: text(100) })),
  /** For Orders: whether a deliverer who states a photo has taken it of this order. */
  "media.hasProof": action(
    stored(object({ orderId: uuid, photoId: text(100) })),
    object({ exists: boolean }),
    {
      idempotent: true,
    },
  ),
  "media.getProof": action(object({ orderId: uuid }), image, { idempotent: true }),
} as const;
