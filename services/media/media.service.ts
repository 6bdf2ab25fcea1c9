import type { ActionSchema, Service, ServiceSchema } from "moleculer";
import { type ActionName, implement, type Params, type Result } from "../../contracts/actions.ts";
import { fail } from "../../contracts/errors.ts";
import type { Ctx } from "../../contracts/meta.ts";
import { type Clock, systemClock } from "../../lib/clock.ts";
import { firstIdAt, idTimeMs } from "../../lib/ids.ts";
import { inBatches } from "../../lib/messaging/runner.ts";
import type { Settings } from "../../lib/settings/settings.ts";
import { health } from "../../mixins/health/health.mixin.ts";
import { nodeDependencies } from "../../mixins/node-dependencies/node-dependencies.mixin.ts";
import { type Pruned, retentionGauges } from "../../mixins/pruning/pruning.mixin.ts";
import { timer } from "../../mixins/timer/timer.mixin.ts";
import { openStorage, type Storage, StorageError } from "../../providers/storage/index.ts";
import * as avatars from "./actions/avatars.ts";
import * as proofs from "./actions/proofs.ts";
import type { MediaDependencies } from "./dependencies.ts";
import { oldestProofOrder, pruneProofs } from "./use-cases/images.ts";

/** Decoding a large picture takes 100 MB, so only two run at once. The queue is short enough to answer in time. */
const BULKHEAD = { enabled: true, concurrency: 2, maxQueueSize: 16 };

const PRUNE_INTERVAL_MS = 3_600_000;
const PRUNE_BATCH = 200;
const DAY_MS = 86_400_000;

export interface MediaDeps {
  config: Settings;
  clock?: Clock;
  pruneIntervalMs?: number;
  storage?: Storage;
}

/** The service of pictures: avatars of users, and photos as proof of delivery. */
export function mediaService(options: MediaDeps): ServiceSchema {
  const { config, clock = systemClock, storage = openStorage(options.config) } = options;
  const deps: MediaDependencies = { storage };
  const pruned: Pruned = { rows: { photos: 0 }, oldestMs: {} };

  const pruner = timer({
    name: "pruning of proof photos",
    intervalMs: options.pruneIntervalMs ?? PRUNE_INTERVAL_MS,
    async run(stopping) {
      const before = firstIdAt(clock.now() - config.KEEP_PHOTOS_DAYS * DAY_MS);
      const batch = async () => {
        const count = await pruneProofs(storage, before, PRUNE_BATCH);
        pruned.rows.photos = (pruned.rows.photos ?? 0) + count;
        return count;
      };
      await inBatches(PRUNE_BATCH, batch, stopping);
      const oldest = await oldestProofOrder(storage);
      if (oldest === undefined) delete pruned.oldestMs.photos;
      else pruned.oldestMs.photos = idTimeMs(oldest);
    },
  });
  const healthChecks = health({
    gauges: {
      ...retentionGauges(pruned, clock),
      object_store_up: {
        about: "Whether the object store is available (1) or not (0).",
        read: async () => Number(await storage.ready()),
      },
    },
  });

  return {
    name: "media",
    mixins: [pruner.mixin, healthChecks.mixin],

    async started(this: Service) {
      await storage.open().catch((error: StorageError) => {
        // An unavailable store may recover. Any other error, such as wrong keys, is permanent and stops the start.
        if (error.kind !== "unavailable") throw error;
        this.logger.warn(
          "The object store does not answer. Pictures cannot be stored or read until it does.",
        );
      });
    },
    async stopped() {
      storage.close();
    },
    actions: {
      putAvatar: action("media.putAvatar", (ctx) => avatars.putAvatar(deps, ctx), {
        bulkhead: BULKHEAD,
      }),
      getAvatar: action("media.getAvatar", (ctx) => avatars.getAvatar(deps, ctx)),
      deleteAvatar: action("media.deleteAvatar", (ctx) => avatars.deleteAvatar(deps, ctx)),
      putProof: action("media.putProof", (ctx) => proofs.putProof(deps, ctx), { bulkhead: BULKHEAD }),
      hasProof: action("media.hasProof", (ctx) => proofs.hasProof(deps, ctx)),
      getProof: action("media.getProof", (ctx) => proofs.getProof(deps, ctx)),
    },
  };
}

/** For Moleculer's runner and REPL, and for our launcher. */
export default { name: "media", mixins: [nodeDependencies("media", mediaService)] } satisfies ServiceSchema;

type Handler<N extends ActionName> = (ctx: Ctx<Params<N>>) => Promise<Result<N>>;

/** Implements an action and translates errors of the object store into errors of the catalogue. */
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
