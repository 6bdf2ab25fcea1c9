import type { Params, Result } from "../../../contracts/actions.ts";
import { fail } from "../../../contracts/errors.ts";
import type { Ctx } from "../../../contracts/meta.ts";
import { callerOf } from "../../../mixins/caller/caller.ts";
import { idempotent } from "../../../mixins/postgres/idempotency.ts";
import type { Postgres } from "../../../mixins/postgres/postgres.mixin.ts";
import { deleteDevice, devicesOf, hasEnded, saveToken } from "../store/devices.repository.ts";
import { isErased } from "../store/recipients.repository.ts";

interface DeviceDeps {
  postgres: Postgres;
}

/** Registers a push token of the caller's device. @throws SESSION_REVOKED, NOT_FOUND for a device of another user */
export async function addDevice(
  { postgres }: DeviceDeps,
  ctx: Ctx<Params<"notifications.addDevice">>,
): Promise<Result<"notifications.addDevice">> {
  const { id: userId, sessionId } = callerOf(ctx);
  return await idempotent(postgres, ctx, "devices.add", async (trx) => {
    // A node that has not received the sign-out yet still accepts the token.
    if ((await hasEnded(trx, { userId, sessionId })) || (await isErased(trx, userId)))
      throw fail("SESSION_REVOKED", "Sign in again.");
    const device = await saveToken(trx, { userId, sessionId }, ctx.params);
    if (!device) throw fail("NOT_FOUND", "There is no such device of yours.");
    return device;
  });
}

export async function listDevices(
  { postgres }: DeviceDeps,
  ctx: Ctx<unknown>,
): Promise<Result<"notifications.devices">> {
  return { items: await devicesOf(postgres.db, callerOf(ctx).id) };
}

/** @throws NOT_FOUND when the caller has no such device */
export async function removeDevice(
  { postgres }: DeviceDeps,
  ctx: Ctx<Params<"notifications.removeDevice">>,
): Promise<Record<string, never>> {
  if (!(await deleteDevice(postgres.db, callerOf(ctx).id, ctx.params.deviceId))) throw fail("NOT_FOUND");
  return {};
}
