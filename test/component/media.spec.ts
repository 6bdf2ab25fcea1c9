import { randomBytes } from "node:crypto";
import { crc32 } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { ServiceSchema } from "moleculer";
import sharp from "sharp";
import type { Ctx } from "../../contracts/meta.ts";
import { newId } from "../../lib/ids.ts";
import { callerOf } from "../../mixins/caller/caller.ts";
import { type IdentityBench, PASSWORD, startIdentity } from "../support/identity.ts";

/** Orders as far as a proof asks it: one order, and who may see it. */
const order = {
  orderId: newId(),
  delivererId: "",
  status: "delivering",
  proofPhotoId: undefined as string | undefined,
};
const orders: ServiceSchema = {
  name: "orders",
  actions: {
    get: (ctx: Ctx<{ orderId: string }>) => {
      callerOf(ctx);
      if (ctx.params.orderId !== order.orderId)
        throw Object.assign(new Error("none"), { type: "NOT_FOUND", code: 404 });
      return order;
    },
  },
};

let bench: IdentityBench;
beforeAll(async () => {
  bench = await startIdentity({ services: [orders] });
});
afterAll(() => bench.stop());

const picture = (width = 40, height = 30) =>
  sharp({ create: { width, height, channels: 3, background: { r: 200, g: 30, b: 30 } } });
const put = (bytes: Buffer, meta: { token: string }) =>
  bench.ask("media.putAvatar", { base64: bytes.toString("base64") }, meta);
const get = async (meta: { token: string }) => {
  const { base64, ...rest } = await bench.ask("media.getAvatar", {}, meta);
  return { ...rest, bytes: Buffer.from(base64, "base64") };
};

describe("media.putAvatar", () => {
  it.each(["jpeg", "png", "webp"] as const)(
    "of a %s, stores a square WebP and updates the profile",
    async (format) => {
      const { meta } = await bench.customer();
      const stored = await put(await picture().toFormat(format).toBuffer(), meta);
      const avatar = await get(meta);
      expect(avatar).toMatchObject({ contentType: "image/webp", etag: stored.etag });
      expect(avatar.bytes.length).toBe(stored.bytes);
      const shown = await sharp(avatar.bytes).metadata();
      expect(shown).toMatchObject({ format: "webp", width: 512, height: 512 });
      await expect(bench.ask("identity.profile", {}, meta)).resolves.toMatchObject({ avatarVersion: 1 });
    },
  );

  it("removes metadata and trailing data, and keeps the orientation", async () => {
    const { meta } = await bench.customer();
    // Half red, half blue, to be turned by a quarter: upright, the red half is on top.
    const blue = await sharp({ create: { width: 50, height: 100, channels: 3, background: "blue" } })
      .png()
      .toBuffer();
    const turned = await sharp({ create: { width: 100, height: 100, channels: 3, background: "red" } })
      .composite([{ input: blue, left: 50, top: 0 }])
      .withExif({ IFD0: { Copyright: "canary-exif", ImageDescription: "canary-exif" } })
      .withMetadata({ orientation: 6 })
      .jpeg()
      .toBuffer();
    const trailing = Buffer.from("canary-trailer");
    await put(Buffer.concat([turned, trailing]), meta);
    const { bytes } = await get(meta);
    expect(bytes.includes("canary")).toBe(false);
    const shown = await sharp(bytes).metadata();
    for (const kind of ["exif", "xmp", "iptc", "icc", "orientation"]) expect(shown).not.toHaveProperty(kind);
    const { data, info } = await sharp(bytes).raw().toBuffer({ resolveWithObject: true });
    const pixel = (x: number, y: number) => [
      ...data.subarray((y * info.width + x) * info.channels).subarray(0, 3),
    ];
    const [top, bottom] = [pixel(256, 100), pixel(256, 400)] as [number[], number[]];
    expect(top[0]).toBeGreaterThan(200);
    expect(bottom[2]).toBeGreaterThan(200);
  });

  it("of an animation, keeps its first picture", async () => {
    const { meta } = await bench.customer();
    const frames = await Promise.all(
      ["red", "blue"].map((background) =>
        sharp({ create: { width: 20, height: 20, channels: 3, background } })
          .png()
          .toBuffer(),
      ),
    );
    const animation = await sharp(frames, { join: { animated: true } })
      .webp()
      .toBuffer();
    await put(animation, meta);
    expect((await sharp((await get(meta)).bytes).metadata()).pages ?? 1).toBe(1);
  });

  const svg = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect/></svg>');
  const gif = Buffer.from("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7", "base64");
  it.each<[string, () => Promise<Buffer>, string, number]>([
    ["an SVG", async () => svg, "UNSUPPORTED_MEDIA_TYPE", 415],
    ["a GIF", async () => gif, "UNSUPPORTED_MEDIA_TYPE", 415],
    ["text", async () => Buffer.from("hello"), "UNSUPPORTED_MEDIA_TYPE", 415],
    ["nothing", async () => Buffer.alloc(0), "UNSUPPORTED_MEDIA_TYPE", 415],
    ["a PDF", async () => Buffer.from("%PDF-1.7"), "UNSUPPORTED_MEDIA_TYPE", 415],
    [
      "a JPEG that is a page too",
      async () =>
        Buffer.concat([await picture().jpeg().toBuffer(), Buffer.from("<script>alert(1)</script>")]),
      "UNSUPPORTED_MEDIA_TYPE",
      415,
    ],
    [
      "a PNG that is an archive too",
      async () =>
        Buffer.concat([await picture().png().toBuffer(), Buffer.from(`PK\x05\x06${"\0".repeat(18)}`)]),
      "UNSUPPORTED_MEDIA_TYPE",
      415,
    ],
    [
      "an SVG behind the first bytes of a PNG",
      async () => Buffer.concat([Buffer.from("\x89PNG\r\n\x1a\n", "latin1"), svg]),
      "UNSUPPORTED_MEDIA_TYPE",
      415,
    ],
    ["more than 5 MB", async () => randomBytes(5_000_001), "PAYLOAD_TOO_LARGE", 413],
    ["a PNG of 26 megapixels", async () => picture(6_500, 4_000).png().toBuffer(), "IMAGE_TOO_LARGE", 422],
    ["a JPEG of 26 megapixels", async () => picture(6_500, 4_000).jpeg().toBuffer(), "IMAGE_TOO_LARGE", 422],
    ["half a JPEG", async () => half(await noise().jpeg().toBuffer()), "IMAGE_INVALID", 422],
    [
      "a JPEG without its last 100 bytes",
      async () => (await noise().jpeg().toBuffer()).subarray(0, -100),
      "IMAGE_INVALID",
      422,
    ],
    [
      "a progressive JPEG without its last scan",
      async () => (await noise().jpeg({ progressive: true }).toBuffer()).subarray(0, -100),
      "IMAGE_INVALID",
      422,
    ],
    ["half a PNG", async () => half(await noise().png().toBuffer()), "IMAGE_INVALID", 422],
    ["half a WebP", async () => half(await noise().webp().toBuffer()), "IMAGE_INVALID", 422],
    [
      "a JPEG of rubbish",
      async () => Buffer.concat([Buffer.from([0xff, 0xd8, 0xff]), randomBytes(500)]),
      "IMAGE_INVALID",
      422,
    ],
  ])("of %s, is refused and leaves the avatar as it was", async (_name, make, type, code) => {
    const { meta } = await bench.customer();
    await put(await picture().png().toBuffer(), meta);
    const before = await get(meta);
    await expect(put(await make(), meta)).rejects.toMatchObject({ type, code });
    expect(await get(meta)).toEqual(before);
    await expect(bench.ask("identity.profile", {}, meta)).resolves.toMatchObject({ avatarVersion: 1 });
  });

  it.each<[string, (jpeg: Buffer) => Buffer]>([
    ["invalid SOS parameters for a sequential picture", withWrongScan],
    ["extraneous bytes before a marker", (jpeg) => insertedAt(jpeg, scanOf(jpeg), Buffer.from([0, 1, 2, 3]))],
    ["extraneous bytes before its end", (jpeg) => insertedAt(jpeg, jpeg.length - 2, Buffer.alloc(9, 7))],
    ["a second picture behind it", (jpeg) => Buffer.concat([jpeg, jpeg])],
  ])("of a phone's JPEG with %s, keeps the picture", async (_name, made) => {
    const { meta } = await bench.customer();
    const whole = await noise().jpeg().toBuffer();
    await put(made(whole), meta);
    expect(await sharp((await get(meta)).bytes).metadata()).toMatchObject({ format: "webp", width: 512 });
  });

  it.each(["heic", "mif1", "hevc", "avif"])(
    "of an image with the brand %s, names the accepted types",
    async (brand) => {
      const { meta } = await bench.customer();
      const box = Buffer.from(`\0\0\0\x18ftyp${brand}\0\0\0\0mif1heic`, "latin1");
      await expect(put(Buffer.concat([box, randomBytes(500)]), meta)).rejects.toMatchObject({
        type: "UNSUPPORTED_MEDIA_TYPE",
        code: 415,
        message: expect.stringMatching(/HEIC.* not read.*Send a JPEG, PNG or WebP/),
      });
    },
  );

  it("of an image whose header claims a huge size, is refused before a pixel is decoded", async () => {
    const { meta } = await bench.customer();
    await expect(put(await claiming(60_000), meta)).rejects.toMatchObject({
      type: "IMAGE_TOO_LARGE",
      code: 422,
    });
    // A decoder would have found no fault with the header, and too few pixels behind it.
    await expect(put(await claiming(5_000), meta)).rejects.toMatchObject({ type: "IMAGE_INVALID" });
    await expect(put(await claiming(10), meta)).resolves.toMatchObject({ bytes: expect.any(Number) });
  });

  it("of invalid base64, and without a token, is refused", async () => {
    const { meta } = await bench.customer();
    await expect(bench.ask("media.putAvatar", { base64: "<>" }, meta)).rejects.toMatchObject({
      type: "VALIDATION_ERROR",
    });
    await expect(bench.ask("media.putAvatar", { base64: "AAAA" })).rejects.toMatchObject({
      type: "UNAUTHENTICATED",
    });
    await expect(bench.ask("media.getAvatar", {})).rejects.toMatchObject({ type: "UNAUTHENTICATED" });
    await expect(bench.ask("media.deleteAvatar", {})).rejects.toMatchObject({ type: "UNAUTHENTICATED" });
  });
});

describe("an avatar", () => {
  it("is its owner's only; after its removal, the next one has another version", async () => {
    const [owner, other] = [await bench.customer(), await bench.customer()];
    await put(await picture().png().toBuffer(), owner.meta);
    await expect(get(other.meta)).rejects.toMatchObject({ type: "NOT_FOUND", code: 404 });

    await bench.ask("media.deleteAvatar", {}, owner.meta);
    await bench.ask("media.deleteAvatar", {}, owner.meta);
    await expect(get(owner.meta)).rejects.toMatchObject({ type: "NOT_FOUND" });
    expect(await bench.ask("identity.profile", {}, owner.meta)).not.toHaveProperty("avatarVersion");

    await put(await picture().png().toBuffer(), owner.meta);
    await expect(bench.ask("identity.profile", {}, owner.meta)).resolves.toMatchObject({ avatarVersion: 2 });
  });

  it("is deleted with its owner's account", async () => {
    const { email, userId, meta } = await bench.customer();
    await put(await picture().png().toBuffer(), meta);
    expect(bench.stored()).toContain(`avatars/${userId}.webp`);
    await bench.ask("identity.deleteAccount", { password: PASSWORD }, meta);
    expect(bench.stored()).not.toContain(`avatars/${userId}.webp`);
    await expect(bench.signIn(email)).rejects.toMatchObject({ type: "INVALID_CREDENTIALS" });
  });
});

describe("a proof of delivery", () => {
  const putProof = async (
    meta: { token: string },
    orderId = order.orderId,
    photo = picture(2_000, 1_000),
  ) => {
    const base64 = (await photo.jpeg().toBuffer()).toString("base64");
    return bench.ask("media.putProof", { orderId, base64 }, meta);
  };

  it("is stored for the order's deliverer, whole and scaled down, and shown with the order", async () => {
    const deliverer = await bench.staff("deliverer");
    order.delivererId = deliverer.userId;
    const { photoId } = await putProof(deliverer.meta);
    const known = (id: string, orderId = order.orderId) =>
      bench.ask("media.hasProof", { orderId, photoId: id }, deliverer.meta);
    expect(await known(photoId)).toEqual({ exists: true });
    for (const other of [newId(), "../../avatars/x"]) expect(await known(other)).toEqual({ exists: false });
    expect(await known(photoId, newId())).toEqual({ exists: false });
    await expect(
      bench.ask("media.getProof", { orderId: order.orderId }, deliverer.meta),
    ).rejects.toMatchObject({ type: "NOT_FOUND" });
    order.proofPhotoId = photoId;
    const { meta } = await bench.customer();
    const { base64 } = await bench.ask("media.getProof", { orderId: order.orderId }, meta);
    expect(await sharp(Buffer.from(base64, "base64")).metadata()).toMatchObject({
      width: 1_600,
      height: 800,
    });
  });

  it("taken again replaces the deliverer's former one, and no other's", async () => {
    const [first, second] = [await bench.staff("deliverer"), await bench.staff("deliverer")];
    Object.assign(order, { orderId: newId(), delivererId: first.userId, proofPhotoId: undefined });
    const kept = () => bench.stored().filter((key) => key.startsWith(`proofs/${order.orderId}/`));
    const widthOf = async (proofPhotoId: string) => {
      order.proofPhotoId = proofPhotoId;
      const { base64 } = await bench.ask("media.getProof", { orderId: order.orderId }, first.meta);
      return (await sharp(Buffer.from(base64, "base64")).metadata()).width;
    };
    const { photoId } = await putProof(first.meta);
    for (const width of [300, 400, 500]) {
      expect(await putProof(first.meta, order.orderId, picture(width))).toEqual({ photoId });
      expect(await widthOf(photoId)).toBe(width);
    }
    expect(kept()).toEqual([`proofs/${order.orderId}/${photoId}.webp`]);

    order.delivererId = second.userId;
    const other = await putProof(second.meta, order.orderId, picture(600));
    expect([await widthOf(photoId), await widthOf(other.photoId)]).toEqual([500, 600]);
    expect(kept()).toHaveLength(2);
  });

  it("is refused to other deliverers, to other roles, and for an order that is not being delivered", async () => {
    const deliverer = await bench.staff("deliverer");
    order.delivererId = newId();
    await expect(putProof(deliverer.meta)).rejects.toMatchObject({ type: "NOT_FOUND" });
    await expect(putProof(deliverer.meta, newId())).rejects.toMatchObject({ type: "NOT_FOUND" });
    const { meta } = await bench.customer();
    await expect(putProof(meta)).rejects.toMatchObject({ type: "FORBIDDEN" });
    Object.assign(order, { delivererId: deliverer.userId, status: "delivered" });
    await expect(putProof(deliverer.meta)).rejects.toMatchObject({ type: "ILLEGAL_TRANSITION" });
  });

  it("with an id in the order that leads elsewhere, is NOT_FOUND", async () => {
    const { meta } = await bench.customer();
    order.proofPhotoId = "../../avatars/x";
    await expect(bench.ask("media.getProof", { orderId: order.orderId }, meta)).rejects.toMatchObject({
      type: "NOT_FOUND",
    });
  });
});

/** A PNG of ten by ten pixels, whose header says soundly that it has so many a side. */
async function claiming(side: number): Promise<Buffer> {
  const png = await picture(10, 10).png().toBuffer();
  const [type, width, height, checksum] = [12, 16, 20, 29];
  png.writeUInt32BE(side, width);
  png.writeUInt32BE(side, height);
  png.writeUInt32BE(crc32(png.subarray(type, checksum)), checksum);
  return png;
}

/** Where the first scan of a JPEG begins. */
function scanOf(jpeg: Buffer): number {
  let at = 2;
  while (jpeg[at + 1] !== 0xda) at += 2 + jpeg.readUInt16BE(at + 2);
  return at;
}

/** A JPEG whose scan states the spectral selection of a progressive one, as cameras of some phones write it. */
function withWrongScan(jpeg: Buffer): Buffer {
  const made = Buffer.from(jpeg);
  const scan = scanOf(made);
  const spectralSelection = scan + 5 + 2 * made.readUInt8(scan + 4);
  made.writeUInt16BE(0x01_0a, spectralSelection);
  return made;
}

function insertedAt(bytes: Buffer, at: number, more: Buffer): Buffer {
  return Buffer.concat([bytes.subarray(0, at), more, bytes.subarray(at)]);
}

/** Something that does not compress away. */
function noise() {
  return sharp(randomBytes(200 * 200 * 3), { raw: { width: 200, height: 200, channels: 3 } });
}

function half(bytes: Buffer): Buffer {
  return bytes.subarray(0, bytes.length / 2);
}
