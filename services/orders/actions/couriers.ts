import type { Params, Result } from "../../../contracts/actions.ts";
import type { CourierView } from "../../../contracts/couriers.ts";
import { fail, invalidField } from "../../../contracts/errors.ts";
import type { Ctx } from "../../../contracts/meta.ts";
import { isoTime, momentOf } from "../../../lib/clock.ts";
import { omitUndefined } from "../../../lib/omit-undefined.ts";
import { callerOf } from "../../../mixins/caller/caller.ts";
import { audit } from "../../../mixins/outbox/audit.ts";
import type { OrdersDependencies } from "../dependencies.ts";
import { courierNear, dutyChanged } from "../domain/order-messages.ts";
import {
  admissionOf,
  beginDuty,
  type CourierRow,
  couriersPage,
  endDuty,
  findCourier,
  lockDuty,
  type Place,
  recordNear,
  savePositions,
  setCapacity,
} from "../store/couriers.repository.ts";
import { loadOrder } from "../store/unit-of-work.ts";
import { namesOf } from "./access.ts";
import { beforeOf, pageOf } from "./pages.ts";

type Deps = Pick<OrdersDependencies, "postgres" | "courierOrdersMax">;
type PositionDeps = Pick<OrdersDependencies, "postgres" | "outbox" | "live" | "courierNearMeters">;

/** The caller's own duty. */
export async function getDuty(deps: Deps, ctx: Ctx<unknown>): Promise<CourierView> {
  return viewOf(deps, callerOf(ctx, "deliverer").id);
}

/** Begins or ends the caller's duty; its end deletes the position. @throws FORBIDDEN for a former deliverer */
export async function setDuty(
  deps: Deps & Pick<OrdersDependencies, "outbox">,
  ctx: Ctx<Params<"orders.setDuty">>,
): Promise<CourierView> {
  const { id } = callerOf(ctx, "deliverer");
  const { onDuty, vehicle, position } = ctx.params;
  await deps.postgres.transact(async (trx) => {
    if ((await admissionOf(trx, id)).isFormer) throw fail("FORBIDDEN", "You are no deliverer any more.");
    const before = await lockDuty(trx, id);
    if (onDuty) await beginDuty(trx, id, omitUndefined({ vehicle, position }));
    else await endDuty(trx, id, vehicle);
    const now = { id, onDuty, vehicle: vehicle ?? before.vehicle };
    const hasChanged = before.onDuty !== onDuty || (onDuty && before.vehicle !== now.vehicle);
    if (hasChanged) await deps.outbox.add(trx, [dutyChanged(now)]);
  });
  return viewOf(deps, id);
}

/** Stores the position of a courier on duty, for all orders under way. @throws OFF_DUTY */
export async function reportPosition(
  deps: PositionDeps,
  ctx: Ctx<Params<"orders.reportPosition">>,
): Promise<Record<string, never>> {
  const { id: delivererId } = callerOf(ctx, "deliverer");
  if (!(await storePosition(deps, { delivererId }, ctx.params)).onDuty) throw fail("OFF_DUTY");
  return {};
}

/**
 * Stores a deliverer's position and publishes it to the clients that watch the orders in delivery. The first position near
 * the partner or the customer makes a message.
 * @param whose `orderId`: only for this order
 * @throws VALIDATION_ERROR for a time that does not exist
 */
export async function storePosition(
  deps: PositionDeps,
  whose: { delivererId: string; orderId?: string },
  { position, at }: Params<"orders.reportPosition">,
): Promise<{ onDuty: boolean; saved: number }> {
  const positionAtMs = at === undefined ? undefined : momentOf(at);
  if (at !== undefined && positionAtMs === undefined)
    throw invalidField("at", "time", "This is no moment in time.");
  const positionAt = positionAtMs === undefined ? undefined : isoTime(positionAtMs);
  const { onDuty, orders } = await savePositions(deps.postgres.db, whose, position, positionAt);
  for (const { orderId, at } of orders) {
    deps.live.publish("order.position", { orderId, position, at: isoTime(Date.parse(at)) });
  }
  for (const { orderId, place, distanceMeters, wasNear } of orders) {
    if (wasNear || distanceMeters === undefined || distanceMeters > deps.courierNearMeters) continue;
    await sendNear(deps, orderId, { place, distanceMeters, delivererId: whose.delivererId });
  }
  return { onDuty, saved: orders.length };
}

async function sendNear(
  { postgres, outbox }: PositionDeps,
  orderId: string,
  near: { place: Place; distanceMeters: number; delivererId: string },
): Promise<void> {
  await postgres.transact(async (trx) => {
    if (!(await recordNear(trx, orderId, near.place))) return;
    const { order } = await loadOrder(trx, orderId, { role: "anybody" });
    await outbox.add(trx, [courierNear(order, near)]);
  });
}

/** The couriers by pages, for operators. */
export async function listCouriers(
  deps: Deps,
  ctx: Ctx<Params<"orders.couriers">>,
): Promise<Result<"orders.couriers">> {
  callerOf(ctx, "admin");
  const { cursor, limit, duty } = ctx.params;
  const after = beforeOf(cursor);
  const page = await pageOf(
    (rowLimit) => couriersPage(deps.postgres.db, { duty, after, limit: rowLimit }),
    limit,
    (row) => courierView(deps, row),
  );
  const names = await namesOf(
    ctx,
    page.items.map(({ id }) => id),
  );
  return { ...page, items: page.items.map((item) => omitUndefined({ ...item, name: names.get(item.id) })) };
}

/** An operator sets how many orders a courier may deliver at once. @throws VALIDATION_ERROR if the user is no deliverer */
export async function setCourierCapacity(
  deps: Deps & Pick<OrdersDependencies, "outbox">,
  ctx: Ctx<Params<"orders.setCourierCapacity">>,
): Promise<CourierView> {
  callerOf(ctx, "admin");
  const { courierId, ordersAtOnce } = ctx.params;
  await deps.postgres.transact(async (trx) => {
    await audit(deps.outbox, trx, ctx, courierId, `orders at once: ${ordersAtOnce ?? "as the platform"}`);
    await setCapacity(trx, courierId, ordersAtOnce);
  });
  return viewOf(deps, courierId);
}

async function viewOf(deps: Deps, id: string): Promise<CourierView> {
  return courierView(deps, (await findCourier(deps.postgres.db, id)) ?? { id, underWay: 0 });
}

export function courierView(
  { courierOrdersMax }: Pick<Deps, "courierOrdersMax">,
  row: CourierRow,
): CourierView {
  const { id, onDutySince, vehicle, latitude, longitude, positionAt, underWay } = row;
  const position = latitude !== undefined && longitude !== undefined ? { latitude, longitude } : undefined;
  return omitUndefined({
    ...{ id, onDuty: onDutySince !== undefined, since: onDutySince, vehicle, underWay, position, positionAt },
    ordersAtOnce: row.ordersAtOnce ?? courierOrdersMax,
  });
}
