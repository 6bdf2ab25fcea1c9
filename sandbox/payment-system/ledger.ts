import { randomUUID } from "node:crypto";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { httpError } from "../web.ts";

const CHECKOUTS_MAX = 5_000;
const SAVE_AFTER_MS = 300;

export interface Checkout {
  id: string;
  idempotencyKey: string;
  orderId: string;
  amountMinor: number;
  currency: string;
  description: string;
  callbackUrl: string;
  returnUrl?: string;
  /** Number of the customer's attempts that were declined. */
  declined: number;
}

export interface Payment {
  id: string;
  checkoutId: string;
  orderId: string;
  amountMinor: number;
  currency: string;
  refundedMinor: number;
}

export interface Refund {
  id: string;
  paymentId: string;
  amountMinor: number;
  state: "completed";
}

interface StoredLedger {
  checkouts: Checkout[];
  payments: Payment[];
  refunds: Refund[];
}

/**
 * The ledger of the payment system: checkouts, payments and refunds. In memory; a file preserves it across restarts, so that
 * older orders can still be paid or refunded.
 */
export function openLedger(file?: string) {
  const stored = read(file);
  const checkouts = new Map(stored.checkouts.map((checkout) => [checkout.id, checkout]));
  const byKey = new Map(stored.checkouts.map((checkout) => [checkout.idempotencyKey, checkout]));
  const payments = new Map(stored.payments.map((payment) => [payment.id, payment]));
  const refunds = new Map(stored.refunds.map((refund) => [refund.id, refund]));
  let saving: NodeJS.Timeout | undefined;

  const save = () => {
    clearTimeout(saving);
    saving = undefined;
    if (!file) return;
    const all: StoredLedger = {
      checkouts: [...checkouts.values()],
      payments: [...payments.values()],
      refunds: [...refunds.values()],
    };
    writeFileSync(`${file}.new`, JSON.stringify(all), { mode: 0o600 });
    renameSync(`${file}.new`, file);
  };
  const changed = () => {
    if (file) saving ??= setTimeout(save, SAVE_AFTER_MS).unref();
  };
  const deleteOldest = () => {
    if (checkouts.size < CHECKOUTS_MAX) return;
    const [oldest] = checkouts.values();
    if (!oldest) return;
    checkouts.delete(oldest.id);
    byKey.delete(oldest.idempotencyKey);
    for (const payment of paymentsOf(oldest.id)) payments.delete(payment.id);
  };
  const paymentsOf = (checkoutId: string) =>
    [...payments.values()].filter((payment) => payment.checkoutId === checkoutId);

  return {
    /** @returns the checkout that was opened with the same idempotency key before, if any */
    openCheckout(wanted: Omit<Checkout, "id" | "declined">): Checkout {
      const known = byKey.get(wanted.idempotencyKey);
      if (known) return known;
      deleteOldest();
      const checkout = { ...wanted, id: randomUUID(), declined: 0 };
      checkouts.set(checkout.id, checkout);
      byKey.set(checkout.idempotencyKey, checkout);
      changed();
      return checkout;
    },
    /** The newest first. */
    newestCheckouts: (limit: number): Checkout[] => [...checkouts.values()].slice(-limit).reverse(),
    /** @throws HTTPException 404 */
    checkout(id: string | undefined): Checkout {
      const found = checkouts.get(id ?? "");
      if (!found) throw httpError(404, "There is no such checkout.");
      return found;
    },
    paymentsOf,
    paymentsOfOrder: (orderId: string) =>
      [...payments.values()].filter((payment) => payment.orderId === orderId),
    pay({ id: checkoutId, orderId, currency }: Checkout, amountMinor: number): Payment {
      const payment = { id: randomUUID(), checkoutId, orderId, amountMinor, currency, refundedMinor: 0 };
      payments.set(payment.id, payment);
      changed();
      return payment;
    },
    decline(checkout: Checkout): void {
      checkout.declined += 1;
      changed();
    },
    refund: (id: string) => refunds.get(id),
    /** @throws HTTPException 404 for an unknown payment, 422 when the amount exceeds the rest of the payment */
    addRefund({ id, paymentId, amountMinor }: Omit<Refund, "state">): {
      refund: Refund;
      payment: Payment;
      isNew: boolean;
    } {
      const payment = payments.get(paymentId);
      if (!payment) throw httpError(404, "There is no such payment.");
      const known = refunds.get(id);
      if (known) return { refund: known, payment, isNew: false };
      if (amountMinor > payment.amountMinor - payment.refundedMinor) {
        throw httpError(422, "More than is left of the payment.");
      }
      const refund: Refund = { id, paymentId, amountMinor, state: "completed" };
      payment.refundedMinor += amountMinor;
      refunds.set(id, refund);
      changed();
      return { refund, payment, isNew: true };
    },
    /** Writes pending changes to the file. */
    close(): void {
      if (saving) save();
    },
  };
}

export type Ledger = ReturnType<typeof openLedger>;

function read(file: string | undefined): StoredLedger {
  try {
    if (file) return JSON.parse(readFileSync(file, "utf8")) as StoredLedger;
  } catch {
    // No file yet, or a damaged one: start with an empty ledger.
  }
  return { checkouts: [], payments: [], refunds: [] };
}
