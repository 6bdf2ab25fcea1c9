import type { PartnerRow } from "../../../services/partners/store/partners.repository.ts";
import type * as real from "../../../services/partners/store/reservations.repository.ts";
import { statement } from "../memory.ts";
import type { View } from "../view.ts";

export * from "../../../services/partners/store/reservations.repository.ts";

export interface OfferRecord {
  partnerId: string;
  productId: string;
  title: string;
  priceMinor: number;
  currency: string;
  stock?: number;
  active: boolean;
}

export interface ReservationRecord extends real.ReservationRow {
  expiresAtMs?: number;
}

export interface ReservedLine {
  orderId: string;
  productId: string;
  quantity: number;
  unitPriceMinor: number;
  taken: number;
}

const byProduct = (a: { productId: string }, b: { productId: string }) =>
  a.productId < b.productId ? -1 : 1;
const offerKey = (partnerId: string, productId: string) => `${partnerId}/${productId}`;

export const takeStock: typeof real.takeStock = async (db, wanted) => {
  const { orderId, partnerId, currency, lines } = wanted;
  const early = new Map<string, number | undefined>();
  const isEarly = (view: View) => view.world.faults.has("stock read before the lock");
  await statement(db, (view) => {
    if (!isEarly(view)) return;
    for (const { productId } of lines) {
      early.set(productId, view.get<OfferRecord>("availability", offerKey(partnerId, productId))?.stock);
    }
  });
  return statement(db, (view) => {
    const good = lines.toSorted(byProduct).flatMap((line) => {
      const offer = view.locked<OfferRecord>("availability", offerKey(partnerId, line.productId));
      if (!offer?.active || offer.currency !== currency) return [];
      const stock = isEarly(view) ? early.get(line.productId) : offer.stock;
      const enough = stock === undefined || stock >= line.quantity;
      return enough && offer.priceMinor === line.unitPrice.amountMinor ? [{ line, offer, stock }] : [];
    });
    const partner = view.get<PartnerRow>("partners", partnerId);
    const open = partner?.enabled && partner.verified && partner.currency === currency;
    if (!open || partner.deliveryFeeMinor !== wanted.feeMinor || good.length !== lines.length)
      return undefined;
    const expiresAtMs = Date.parse(wanted.expiresAt);
    const held: ReservationRecord = { orderId, partnerId, state: "held", orderVersion: 0, expiresAtMs };
    if (!view.insert("stock_reservations", orderId, held)) return undefined;
    for (const { line, offer, stock } of good) {
      const { productId, quantity } = line;
      const left = stock === undefined ? {} : { stock: stock - quantity };
      view.update("availability", offerKey(partnerId, productId), { ...offer, ...left });
      note(view, {
        ...{ orderId, productId, quantity, unitPriceMinor: line.unitPrice.amountMinor },
        taken: stock === undefined ? 0 : quantity,
      });
    }
    return partner;
  });
};

export const findReservation: typeof real.findReservation = (db, orderId) =>
  statement(db, (view) => view.get<ReservationRecord>("stock_reservations", orderId));

export const lockReservation: typeof real.lockReservation = (db, orderId) =>
  statement(db, (view) => {
    const known = view.locked<ReservationRecord>("stock_reservations", orderId);
    return known && view.world.faults.has("oldest version wins") ? { ...known, orderVersion: 0 } : known;
  });

export const findOrphanedReservation: typeof real.findOrphanedReservation = (db, graceMs, except) =>
  statement(db, (view) => {
    const orphaned = view
      .all<ReservationRecord>("stock_reservations")
      .find(
        ([orderId, { state, orderVersion, expiresAtMs = 0 }]) =>
          state === "held" &&
          orderVersion === 0 &&
          expiresAtMs < view.nowMs - graceMs &&
          !except.includes(orderId),
      );
    return orphaned?.[0];
  });

export const hasSameLines: typeof real.hasSameLines = (db, orderId, lines) =>
  statement(db, (view) => {
    const known = linesOf(view, orderId);
    const same = (line: (typeof lines)[number], held: ReservedLine) =>
      held.productId === line.productId &&
      held.quantity === line.quantity &&
      held.unitPriceMinor === line.unitPrice.amountMinor;
    return known.length === lines.length && lines.every((line) => known.some((held) => same(line, held)));
  });

export const insertReservation: typeof real.insertReservation = (db, { reason: _, ...made }) =>
  statement(db, (view) => view.insert("stock_reservations", made.orderId, made));

export const saveReservation: typeof real.saveReservation = async (db, orderId, change) => {
  await statement(db, (view) => {
    const known = view.locked<ReservationRecord>("stock_reservations", orderId);
    if (!known) return;
    const { state, orderVersion } = change;
    const partnerId = known.partnerId ?? change.partnerId;
    view.update("stock_reservations", orderId, { ...known, state, orderVersion, partnerId });
  });
};

export const advanceHeld: typeof real.advanceHeld = (db, changes) =>
  statement(db, (view) => {
    const advanced = new Set<string>();
    for (const change of [...changes].sort((a, b) => (a.orderId < b.orderId ? -1 : 1))) {
      const { orderId, state, orderVersion } = change;
      const known = view.locked<ReservationRecord>("stock_reservations", orderId);
      if (known?.state !== "held" || known.orderVersion >= orderVersion) continue;
      const partnerId = known.partnerId ?? change.partnerId;
      view.update("stock_reservations", orderId, { ...known, state, orderVersion, partnerId });
      advanced.add(orderId);
    }
    return advanced;
  });

export const returnStock: typeof real.returnStock = async (db, orderId) => {
  await statement(db, (view) => {
    const { partnerId = "" } = view.get<ReservationRecord>("stock_reservations", orderId) ?? {};
    for (const line of linesOf(view, orderId)
      .filter(({ taken }) => taken > 0)
      .sort(byProduct)) {
      const key = offerKey(partnerId, line.productId);
      const offer = view.locked<OfferRecord>("availability", key);
      note(view, { ...line, taken: 0 });
      if (offer) view.update("availability", key, { ...offer, stock: (offer.stock ?? 0) + line.quantity });
    }
  });
};

export const retakeStock: typeof real.retakeStock = (db, orderId, partnerId, lines) =>
  statement(db, (view) =>
    lines
      .toSorted(byProduct)
      .filter(({ productId, quantity, unitPrice }) => {
        const key = offerKey(partnerId, productId);
        const offer = view.locked<OfferRecord>("availability", key);
        const enough = offer?.stock !== undefined && offer.stock >= quantity;
        if (offer && enough)
          view.update("availability", key, { ...offer, stock: (offer.stock ?? 0) - quantity });
        const taken = enough ? quantity : 0;
        note(view, { orderId, productId, quantity, unitPriceMinor: unitPrice.amountMinor, taken });
        return !offer || (offer.stock !== undefined && offer.stock < quantity);
      })
      .map(({ productId }) => productId),
  );

export const pruneReservations: typeof real.pruneReservations = async () => 0;

function linesOf(view: View, orderId: string): ReservedLine[] {
  return view
    .all<ReservedLine>("stock_reservation_lines")
    .map(([, line]) => line)
    .filter((line) => line.orderId === orderId);
}

function note(view: View, line: ReservedLine): void {
  const key = `${line.orderId}/${line.productId}`;
  if (!view.insert("stock_reservation_lines", key, line)) view.update("stock_reservation_lines", key, line);
}
