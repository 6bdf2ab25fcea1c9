import sharp from "sharp";
import { fail, typeOf } from "../../contracts/errors.ts";

const MAX_BYTES = 5_000_000;
const MAX_PIXELS = 25_000_000;
const TIMEOUT_SECONDS = 5;
const QUALITY = 82;
/** A file that is a PDF or an archive as well tells so near its beginning or its end. */
const HEAD_BYTES = 1_024;
const TAIL_BYTES = 65_557;

export const IMAGE_TYPE = "image/webp";

// Only these three decoders exist for whatever is uploaded; the bytes that a cache would keep are better free.
sharp.cache(false);
sharp.block({ operation: ["VipsForeignLoad"] });
sharp.unblock({ operation: ["VipsForeignLoadJpeg", "VipsForeignLoadPng", "VipsForeignLoadWebp"] });

export type Shape =
  /** Cut to a square of so many pixels a side. */
  | { cover: number }
  /** Scaled down to fit into a square of so many pixels a side. */
  | { inside: number };

/**
 * Encodes an uploaded image anew as WebP: upright, without metadata, without anything that stood beside the
 * picture. What it is is told by its bytes alone.
 * @throws PAYLOAD_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, IMAGE_TOO_LARGE before a pixel is decoded, IMAGE_INVALID
 */
export async function reencode(bytes: Buffer, shape: Shape): Promise<Buffer> {
  if (bytes.length > MAX_BYTES) throw fail("PAYLOAD_TOO_LARGE", "An image has at most 5 MB.");
  const format = formatOf(bytes);
  if (!format || isSomethingElseToo(bytes)) {
    throw fail("UNSUPPORTED_MEDIA_TYPE", "Send a JPEG, PNG or WebP image.");
  }
  try {
    const header = await open(bytes).metadata();
    if (header.format !== format) throw fail("UNSUPPORTED_MEDIA_TYPE", "Send a JPEG, PNG or WebP image.");
    if (header.width * header.height > MAX_PIXELS) throw tooLarge();
    const side = "cover" in shape ? shape.cover : shape.inside;
    const fit = "cover" in shape ? "cover" : "inside";
    return await open(bytes)
      .rotate()
      .resize(side, side, { fit, withoutEnlargement: fit === "inside" })
      .webp({ quality: QUALITY })
      .timeout({ seconds: TIMEOUT_SECONDS })
      .toBuffer();
  } catch (error) {
    if (typeOf(error) !== undefined) throw error;
    if (/pixel limit/i.test((error as Error).message)) throw tooLarge();
    throw fail("IMAGE_INVALID", "The image is damaged or incomplete.");
  }
}

function open(bytes: Buffer) {
  return sharp(bytes, { limitInputPixels: MAX_PIXELS, failOn: "warning", sequentialRead: true, pages: 1 });
}

function tooLarge(): Error {
  return fail("IMAGE_TOO_LARGE", "An image has at most 25 megapixels.");
}

function formatOf(bytes: Buffer): "jpeg" | "png" | "webp" | undefined {
  const head = bytes.subarray(0, 12).toString("latin1");
  if (head.startsWith("\xff\xd8\xff")) return "jpeg";
  if (head.startsWith("\x89PNG\r\n\x1a\n")) return "png";
  if (head.startsWith("RIFF") && head.endsWith("WEBP")) return "webp";
  return undefined;
}

/** Whether the bytes also read as a page, a script, a PDF or an archive: no camera writes such a picture. */
function isSomethingElseToo(bytes: Buffer): boolean {
  const text = bytes.toString("latin1");
  if (/<(?:svg|script|html|iframe|!doctype|\?php)[\s>]/i.test(text)) return true;
  if (text.slice(0, HEAD_BYTES).includes("%PDF-")) return true;
  return text.slice(-TAIL_BYTES).includes("PK\x05\x06");
}
