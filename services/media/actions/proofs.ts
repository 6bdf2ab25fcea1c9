import { call, type Params, type Result } from "../../../contracts/actions.ts";
import { fail } from "../../../contracts/errors.ts";
import type { Ctx } from "../../../contracts/meta.ts";
import { derivedId, isId } from "../../../lib/ids.ts";
import { callerOf } from "../../../mixins/caller/caller.ts";
import type { MediaDependencies } from "../dependencies.ts";
import { IMAGE_TYPE, proofKey } from "../use-cases/images.ts";
import { reencode } from "./image.ts";
import { imageView } from "./views.ts";

const PROOF_PIXELS = 1_600;

/** @throws NOT_FOUND for an order of another deliverer, ILLEGAL_TRANSITION when it is not being delivered */
export async function putProof(
  { storage }: MediaDependencies,
  ctx: Ctx<Params<"media.putProof">>,
): Promise<Result<"media.putProof">> {
  const { id } = callerOf(ctx, "deliverer");
  const { orderId, base64 } = ctx.params;
  const order = await call(ctx, "orders.get", { orderId });
  if (order.delivererId !== id) throw fail("NOT_FOUND");
  if (order.status !== "delivering") {
    throw fail("ILLEGAL_TRANSITION", "The order is not being delivered.");
  }
  const picture = await reencode(Buffer.from(base64, "base64"), { inside: PROOF_PIXELS });
  // One photo for each deliverer of the order: a further upload replaces it, so that uploads cannot fill the store.
  const photoId = derivedId("proof", `${orderId}/${id}`);
  await storage.put(proofKey(orderId, photoId), picture, IMAGE_TYPE);
  return { photoId };
}

export async function hasProof(
  { storage }: MediaDependencies,
  ctx: Ctx<Params<"media.hasProof">>,
): Promise<Result<"media.hasProof">> {
  callerOf(ctx, "deliverer");
  const { orderId, photoId } = ctx.params;
  return { exists: isId(photoId) && (await storage.get(proofKey(orderId, photoId))) !== undefined };
}

/** For every caller who may see the order. @throws NOT_FOUND without a photo */
export async function getProof(
  { storage }: MediaDependencies,
  ctx: Ctx<Params<"media.getProof">>,
): Promise<Result<"media.getProof">> {
  const { orderId } = ctx.params;
  const { proofPhotoId } = await call(ctx, "orders.get", { orderId });
  return imageView(proofPhotoId ? await storage.get(proofKey(orderId, proofPhotoId)) : undefined);
}
