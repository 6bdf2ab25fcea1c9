/** The observations of all external parties. They are compared with the platform's records. */
export interface Ledger {
  /** Orders whose confirmation was answered 201, with their total. */
  readonly confirmed: Map<
    string,
    { totalMinor: number; customerId: string; partnerId: string; quantities: number[] }
  >;
  /** Payment events by their id. */
  readonly paymentEvents: Map<
    string,
    { paymentId: string; orderId: string; amountMinor: number; acknowledged: boolean }
  >;
  /** The callbacks of kitchens by event id: body, and the status of the last answer. */
  readonly callbacks: Map<
    string,
    { partnerId: string; orderId: string; type: string; body?: string; status: number }
  >;
  /** Commands of people that were answered 2xx: `cancel`, `assign`, `deliver`. */
  readonly done: { orderId: string; what: "cancel" | "assign" | "deliver" }[];
  /** Every call that a kitchen took as genuine, and how it answered. */
  readonly told: { partnerId: string; webhookId: string; type: string; orderId: string; status: number }[];
  /** Every push that came to a phone. */
  readonly pushes: { collapseId: string; token: string; event: string; orderId: string }[];
  readonly answers: Answers;
}

/** Statuses and times of all answers. */
export interface Answers {
  note(operation: string, status: number, ms: number): void;
  readonly byStatus: Map<number, number>;
  readonly times: number[];
  reset(): void;
}

export function newLedger(): Ledger {
  const byStatus = new Map<number, number>();
  const times: number[] = [];
  return {
    confirmed: new Map(),
    paymentEvents: new Map(),
    callbacks: new Map(),
    done: [],
    told: [],
    pushes: [],
    answers: {
      byStatus,
      times,
      note(_operation, status, ms) {
        byStatus.set(status, (byStatus.get(status) ?? 0) + 1);
        times.push(ms);
      },
      reset() {
        byStatus.clear();
        times.length = 0;
      },
    },
  };
}

/** Signed events that were answered 2xx. */
export function acknowledged({ paymentEvents, callbacks }: Ledger): number {
  const paid = [...paymentEvents.values()].filter((event) => event.acknowledged).length;
  return paid + [...callbacks.values()].filter(({ status }) => status === 202).length;
}

/** @throws RangeError of nothing, which is neither fast nor slow */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const value = sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
  if (value === undefined) throw new RangeError("nothing was measured");
  return Math.round(value);
}
