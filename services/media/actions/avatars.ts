import { call, type Params, type Result } from "../../../contracts/actions.ts";
import { typeOf } from "../../../contracts/errors.ts";
import type { Ctx } from "../../../contracts/meta.ts";
import { callerOf } from "../../../mixins/caller/caller.ts";
import type { MediaDependencies } from "../dependencies.ts";
import { avatarKey, IMAGE_TYPE } from "../use-cases/images.ts";
import { reencode } from "./image.ts";
import { etagOf, imageView } from "./views.ts";

const AVATAR_PIXELS = 512;

export async function putAvatar(
  { storage }: MediaDependencies,
  ctx: Ctx<Params<"media.putAvatar">>,
): Promise<Result<"media.putAvatar">> {
  const { id } = callerOf(ctx);
  const picture = await reencode(Buffer.from(ctx.params.base64, "base64"), { cover: AVATAR_PIXELS });
  await storage.put(avatarKey(id), picture, IMAGE_TYPE);
  try {
    await call(ctx, "identity.setAvatar", { present: true });
  } catch (error) {
    // The account was deleted meanwhile, so its picture must not stay.
    if (typeOf(error) === "NOT_FOUND") await storage.delete(avatarKey(id));
    throw error;
  }
  return { etag: etagOf(picture), bytes: picture.length };
}

export async function getAvatar(
  { storage }: MediaDependencies,
  ctx: Ctx<Params<"media.getAvatar">>,
): Promise<Result<"media.getAvatar">> {
  return imageView(await storage.get(avatarKey(callerOf(ctx).id)));
}

export async function deleteAvatar(
  { storage }: MediaDependencies,
  ctx: Ctx<Params<"media.deleteAvatar">>,
): Promise<Result<"media.deleteAvatar">> {
  await storage.delete(avatarKey(callerOf(ctx).id));
  await call(ctx, "identity.setAvatar", { present: false });
  return {};
}
