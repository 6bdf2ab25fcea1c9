import type { Params, Result } from "../../../contracts/actions.ts";
import { fail } from "../../../contracts/errors.ts";
import type { Ctx } from "../../../contracts/meta.ts";
import { userOfTicket } from "../../../lib/export-ticket.ts";
import { isId } from "../../../lib/ids.ts";
import { omitUndefined } from "../../../lib/omit-undefined.ts";
import type { OrdersDependencies } from "../dependencies.ts";
import { findCourier } from "../store/couriers.repository.ts";
import { addressesOf, type DeliveryRow, deliveriesOf, paymentsOf } from "../store/exports.repository.ts";
import { listOrders } from "../store/order-lists.repository.ts";
import type { ShownOrder } from "../store/shown-orders.repository.ts";
import { courierView } from "./couriers.ts";
import { viewOf } from "./views.ts";

/** Orders of one page of an export. */
const PAGE = 50;

type Deps = Pick<
  OrdersDependencies,
  "postgres" | "clock" | "courierOrdersMax" | "encryptionKeys" | "publicUrl"
>;

/**
 * A page of a user's data: first the own orders, then, of a courier, the deliveries. The cursor names the list and the last
 * order of the page before.
 * @throws UNAUTHENTICATED without a valid ticket
 */
export async function exportOrders(
  deps: Deps,
  { params: { ticket, cursor } }: Ctx<Params<"orders.exportPage">>,
): Promise<Result<"orders.exportPage">> {
  const { postgres, clock, encryptionKeys } = deps;
  const userId = userOfTicket(ticket, encryptionKeys, clock.now());
  if (!userId) throw fail("UNAUTHENTICATED");
  const [list = "orders", before] = cursor?.split(":") ?? [];
  if (before !== undefined && !isId(before)) throw fail("VALIDATION_ERROR");
  if (list === "deliveries") return pageOfDeliveries(deps, userId, before);
  const found = await listOrders(postgres.db, { role: "customer", id: userId }, { before, limit: PAGE });
  const page = { orders: await exported(deps, found) };
  const last = found.at(-1);
  const nextCursor = found.length === PAGE && last ? `orders:${last.id}` : "deliveries";
  if (cursor !== undefined) return { page, nextCursor };
  const [courier, addresses] = await Promise.all([
    findCourier(postgres.db, userId),
    addressesOf(postgres.db, userId),
  ]);
  const duty = courier && courierView(deps, courier);
  return { page: { ...(duty && { duty }), addresses, ...page }, nextCursor };
}

async function pageOfDeliveries(
  { postgres }: Deps,
  userId: string,
  before: string | undefined,
): Promise<Result<"orders.exportPage">> {
  const found = await deliveriesOf(postgres.db, userId, { before, limit: PAGE });
  const last = found.at(-1);
  return {
    page: { deliveries: found.map(deliveryView) },
    ...(found.length === PAGE && last && { nextCursor: `deliveries:${last.orderId}` }),
  };
}

function deliveryView({ latitude, longitude, positionAt, ...delivery }: DeliveryRow) {
  if (latitude === undefined || longitude === undefined || positionAt === undefined) return delivery;
  return { ...delivery, position: { latitude, longitude, at: positionAt } };
}

async function exported({ postgres, publicUrl }: Deps, orders: readonly ShownOrder[]) {
  const { receipts, refunds } = await paymentsOf(
    postgres.db,
    orders.map(({ id }) => id),
  );
  const receiptsByOrder = Map.groupBy(receipts, ({ orderId }) => orderId);
  const refundsByOrder = Map.groupBy(refunds, ({ orderId }) => orderId);
  return orders.map((order) =>
    omitUndefined({
      ...viewOf(order),
      payments: (receiptsByOrder.get(order.id) ?? []).map(
        ({ paymentId, outcome, amountMinor, currency, at }) => ({
          ...{ paymentId, outcome, at },
          amount: { amountMinor, currency },
        }),
      ),
      refunds: (refundsByOrder.get(order.id) ?? []).map(
        ({ id, state, reason, amountMinor, currency, at }) => ({
          ...{ id, state, reason, at },
          amount: { amountMinor, currency },
        }),
      ),
      photoUrl: order.proofPhotoId && `${publicUrl}/api/v1/orders/${order.id}/proof`,
    }),
  );
}
