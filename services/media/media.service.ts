import { hash } from "node:crypto";
import type { ActionSchema, Service, ServiceSchema } from "moleculer";
import { type ActionName, call, implement, type Params, type Result } from "../../contracts/actions.ts";
import { fail, typeOf } from "../../contracts/errors.ts";
import type { Ctx } from "../../contracts/meta.ts";
import { type Clock, systemClock } from "../../lib/clock.ts";
import { derivedId, firstIdAt, isId } from "../../lib/ids.ts";
import { inBatches } from "../../lib/messaging/runner.ts";
import type { Settings } from "../../lib/settings/settings.ts";
import { callerOf } from "../../mixins/caller/caller.ts";
import { health } from "../../mixins/health/health.mixin.ts";
import { timer } from "../../mixins/timer/timer.mixin.ts";
import { openStorage, type Storage, StorageError } from "../../providers/storage/index.ts";
import { IMAGE_TYPE, reencode } from "./actions/image.ts";

const AVATAR_PIXELS = 512;
const PROOF_PIXELS = 1_600;
const ETAG_LENGTH = 32;
/** A large picture takes 100 MB while it is decoded: few at once, and a queue that is still answered in time. */
const BULKHEAD = { enabled: true, concurrency: 2, maxQueueSize: 16 };

const PRUNE_INTERVAL_MS = 3_600_000;
const PRUNE_BATCH = 200;
const DAY_MS = 86_400_000;
const PROOFS = "proofs/";

export interface MediaDeps {
  config: Settings;
  clock?: Clock;
  pruneIntervalMs?: number;
  storage?: Storage;
}

/** Pictures: one of each user, and those that prove a delivery. */
export function mediaService(deps: MediaDeps): ServiceSchema {
  const { config, storage = openStorage(config), clock = systemClock } = deps;
  const pruner = timer({
    name: "removing old photos of deliveries",
    intervalMs: deps.pruneIntervalMs ?? PRUNE_INTERVAL_MS,
    async run(stopping) {
      const before = firstIdAt(clock.now() - config.KEEP_PHOTOS_DAYS * DAY_MS);
      await inBatches(PRUNE_BATCH, () => pruneProofs(storage, before), stopping);
    },
  });
  return {
    name: "media",
    mixins: [
      pruner.mixin,
      health({
        gauges: {
          object_store_up: {
            about: "Whether pictures could be kept and shown now.",
            read: async () => Number(await storage.ready()),
          },
        },
      }).mixin,
    ],
    async started(this: Service) {
      await storage.open().catch((error: StorageError) => {
        // A store that is away comes back; one with wrong keys never works, and is told to the operator now.
        if (error.kind !== "unavailable") throw error;
        this.logger.warn(
          "The object store does not answer: pictures cannot be kept or shown before it does.",
        );
      });
    },
    async stopped() {
      storage.close();
    },
    actions: {
      putAvatar: action(
        "media.putAvatar",
        async (ctx) => {
          const { id } = callerOf(ctx);
          const picture = await reencode(Buffer.from(ctx.params.base64, "base64"), { cover: AVATAR_PIXELS });
          await storage.put(avatarKey(id), picture, IMAGE_TYPE);
          try {
            await call(ctx, "identity.setAvatar", { present: true });
          } catch (error) {
            // The account was deleted meanwhile: nothing of it may stay.
            if (typeOf(error) === "NOT_FOUND") await storage.delete(avatarKey(id));
            throw error;
          }
          return { etag: etagOf(picture), bytes: picture.length };
        },
        { bulkhead: BULKHEAD },
      ),
      getAvatar: action("media.getAvatar", async (ctx) => {
        return imageView(await storage.get(avatarKey(callerOf(ctx).id)));
      }),
      deleteAvatar: action("media.deleteAvatar", async (ctx) => {
        await storage.delete(avatarKey(callerOf(ctx).id));
        await call(ctx, "identity.setAvatar", { present: false });
        return {};
      }),
      putProof: action(
        "media.putProof",
        async (ctx) => {
          const { id } = callerOf(ctx, "deliverer");
          const { orderId, base64 } = ctx.params;
          const order = await call(ctx, "orders.get", { orderId });
          if (order.delivererId !== id) throw fail("NOT_FOUND");
          if (order.status !== "delivering") {
            throw fail("ILLEGAL_TRANSITION", "The order is not being delivered.");
          }
          const picture = await reencode(Buffer.from(base64, "base64"), { inside: PROOF_PIXELS });
          // One of each deliverer who had the order: however often it is taken, the store does not fill up.
          const photoId = derivedId("proof", `${orderId}/${id}`);
          await storage.put(proofKey(orderId, photoId), picture, IMAGE_TYPE);
          return { photoId };
        },
        { bulkhead: BULKHEAD },
      ),
      hasProof: action("media.hasProof", async (ctx) => {
        callerOf(ctx, "deliverer");
        const { orderId, photoId } = ctx.params;
        return { exists: isId(photoId) && (await storage.get(proofKey(orderId, photoId))) !== undefined };
      }),
      /** For whoever may see the order. */
      getProof: action("media.getProof", async (ctx) => {
        const { orderId } = ctx.params;
        const { proofPhotoId } = await call(ctx, "orders.get", { orderId });
        return imageView(proofPhotoId && (await storage.get(proofKey(orderId, proofPhotoId))));
      }),
    },
  };
}

type Handler<N extends ActionName> = (ctx: Ctx<Params<N>>) => Promise<Result<N>>;

function action<N extends ActionName>(
  name: N,
  handler: Handler<N>,
  more?: Partial<ActionSchema>,
): ActionSchema {
  const guarded: Handler<N> = async (ctx) => {
    try {
      return await handler(ctx);
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      throw error.kind === "invalid_key"
        ? fail("NOT_FOUND")
        : fail("SERVICE_UNAVAILABLE", "Pictures cannot be kept or shown now.");
    }
  };
  return implement(name, guarded, more);
}

/** An order's id is a UUIDv7, so the first keys are the oldest. @returns how many went */
async function pruneProofs(storage: Storage, beforeOrderId: string): Promise<number> {
  const keys = await storage.list(PROOFS, PRUNE_BATCH);
  const old = keys.filter((key) => key < PROOFS + beforeOrderId);
  for (const key of old) await storage.delete(key);
  return old.length;
}

function avatarKey(userId: string): string {
  return `avatars/${userId}.webp`;
}

function proofKey(orderId: string, photoId: string): string {
  return `${PROOFS}${orderId}/${photoId}.webp`;
}

/** @throws NOT_FOUND without a picture */
function imageView(picture: Buffer | "" | undefined): Result<"media.getAvatar"> {
  if (!picture) throw fail("NOT_FOUND");
  return { contentType: IMAGE_TYPE, etag: etagOf(picture), base64: picture.toString("base64") };
}

function etagOf(picture: Buffer): string {
  return hash("sha256", picture, "hex").slice(0, ETAG_LENGTH);
}
