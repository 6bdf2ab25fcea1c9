import sharp from "sharp";
import { fail, typeOf } from "../../../contracts/errors.ts";
import { HEIF_REFUSED, IMAGE_WANTED } from "../../../contracts/media.ts";

const MAX_BYTES = 5_000_000;
const MAX_PIXELS = 25_000_000;
const TIMEOUT_SECONDS = 5;
const QUALITY = 82;
/** A PDF signature stands near the beginning of a file, the end record of an archive near its end. */
const HEAD_BYTES = 1_024;
const TAIL_BYTES = 65_557;

// Allows only these three decoders. The cache is off because uploads do not repeat.
sharp.cache(false);
sharp.block({ operation: ["VipsForeignLoad"] });
sharp.unblock({ operation: ["VipsForeignLoadJpeg", "VipsForeignLoadPng", "VipsForeignLoadWebp"] });

export type Shape =
  /** Crops to a square with this side in pixels. */
  | { cover: number }
  /** Scales down to fit into a square with this side in pixels. */
  | { inside: number };

/**
 * Re-encodes an uploaded image as WebP: upright, without metadata and without any other content of the file. Detects the
 * format from the bytes only.
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
 * Accepts decoder warnings: many phones write JPEG with faults such as "Invalid SOS parameters" that every viewer shows.
 * A truncated image or a wrong checksum is an error.
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

/** Whether the file is also valid as HTML, a script, a PDF or an archive. No camera writes such a file. */
function isSomethingElseToo(bytes: Buffer): boolean {
  const text = bytes.toString("latin1");
  if (/<(?:svg|script|html|iframe|!doctype|\?php)[\s>]/i.test(text)) return true;
  if (text.slice(0, HEAD_BYTES).includes("%PDF-")) return true;
  return text.slice(-TAIL_BYTES).includes("PK\x05\x06");
}
