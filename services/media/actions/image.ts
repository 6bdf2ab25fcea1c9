import sharp from "sharp";
import { fail, typeOf } from "../../../contracts/errors.ts";
import { HEIF_REFUSED, IMAGE_WANTED } from "../../../contracts/media.ts";

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
  if (isHeif(bytes)) throw fail("UNSUPPORTED_MEDIA_TYPE", HEIF_REFUSED);
  const format = formatOf(bytes);
  if (!format || isSomethingElseToo(bytes)) {
    throw fail("UNSUPPORTED_MEDIA_TYPE", IMAGE_WANTED);
  }
  try {
    const header = await open(bytes).metadata();
    if (header.format !== format) throw fail("UNSUPPORTED_MEDIA_TYPE", IMAGE_WANTED);
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

/**
 * Many phones write JPEG that a decoder warns of, as "Invalid SOS parameters", and every viewer shows the picture:
 * warnings pass. What ends too early, or does not have the check sum that it states, is an error.
 */
function open(bytes: Buffer) {
  return sharp(bytes, { limitInputPixels: MAX_PIXELS, failOn: "error", sequentialRead: true, pages: 1 });
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

/** The brands of ISO base media files that hold HEIF images, by the coding: HEVC, AV1 or any. */
const HEIF_BRANDS = ["heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "mif2", "msf1", "avif", "avis"];

function isHeif(bytes: Buffer): boolean {
  const head = bytes.subarray(4, 12).toString("latin1");
  return head.startsWith("ftyp") && HEIF_BRANDS.includes(head.slice(4));
}

/** Whether the bytes also read as a page, a script, a PDF or an archive: no camera writes such a picture. */
function isSomethingElseToo(bytes: Buffer): boolean {
  const text = bytes.toString("latin1");
  if (/<(?:svg|script|html|iframe|!doctype|\?php)[\s>]/i.test(text)) return true;
  if (text.slice(0, HEAD_BYTES).includes("%PDF-")) return true;
  return text.slice(-TAIL_BYTES).includes("PK\x05\x06");
}
