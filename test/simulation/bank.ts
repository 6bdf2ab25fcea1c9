import { newId } from "../../lib/ids.ts";
import { type Bank, BankError, type BankEvent, type RefundState } from "../../providers/banks/index.ts";
import { type Machine, World } from "./engine.ts";

const UNCLEAR = 0.15;
const SLOW = 0.1;
const TIMEOUT_MS = 5_000;
const REFUSED = 0.04;
const TAKES_ITS_TIME = 0.15;
const BOUNCES = 0.05;
/** With every so many payments come two for orders that there are not, and one of a sum that fits no books twice. */
const STRANGE_EVERY = 5;

interface AtBank {
  refundId: string;
  paymentId: string;
  amountMinor: number;
  state: RefundState["state"];
}

export interface BankPayment {
  paymentId: string;
  orderId: string;
  amountMinor: number;
}

/** The payment system: it has the money, and the last word on what was paid and what went back. */
export class SimulatedBank {
  readonly id = newId();
  readonly payments = new Map<string, BankPayment>();
  readonly refunds = new Map<string, AtBank>();
  /** Payments that name no order of ours; the bank reports them too. */
  readonly strays = new Map<string, BankPayment>();
  readonly #world: World;
  /** Sends a report until it is taken. */
  readonly #report: (event: BankEvent) => void;

  constructor(world: World, report: (event: BankEvent) => void) {
    this.#world = world;
    this.#report = report;
  }

  /** A customer pays on the bank's page. */
  pay(orderId: string, amountMinor: number): void {
    const paymentId = `pay_${newId()}`;
    const payment: BankPayment = { paymentId, orderId, amountMinor };
    this.payments.set(paymentId, payment);
    this.#world.say(`${orderId} is paid ${amountMinor}`);
    const event = { ...this.#event(orderId, paymentId, amountMinor), kind: "paid" as const };
    if (this.#world.random.chance(0.1)) return; // its report gets lost, in quiet times too; whoever asks can find it
    this.#report(event);
    // Another event about the same payment, as banks have several kinds of them.
    if (this.#world.trouble(0.1)) this.#report({ ...event, eventId: `evt_${newId()}` });
    if (this.payments.size % STRANGE_EVERY === 0) this.#strange(orderId);
  }

  #strange(orderId: string): void {
    const report = (payment: BankPayment) => {
      const { paymentId, amountMinor } = payment;
      this.#report({ ...this.#event(payment.orderId, paymentId, amountMinor), kind: "paid" });
    };
    for (const amountMinor of [5_000, 99_900]) {
      const stray = { paymentId: `pay_${newId()}`, orderId: newId(), amountMinor };
      this.strays.set(stray.paymentId, stray);
      report(stray);
    }
    for (const paymentId of [`pay_${newId()}`, `pay_${newId()}`]) {
      const hostile = { paymentId, orderId, amountMinor: Number.MAX_SAFE_INTEGER - 10 };
      this.payments.set(paymentId, hostile);
      report(hostile);
    }
  }

  /** The bank as a machine of ours reaches it. */
  client(): Bank {
    const world = this.#world;
    return {
      openCheckout: async ({ orderId }) => {
        await this.#travel();
        return { checkoutUrl: `https://bank.example/${orderId}` };
      },
      verify: ({ body }) => ({ kind: "event", event: JSON.parse(body) }),
      refund: async ({ refundId, paymentId, amount }) => {
        const asked = world.faults.has("refund repeated on timeout") ? newId() : refundId;
        await this.#travel();
        const answer = this.#refund(asked, paymentId, amount.amountMinor);
        await this.#travel();
        return answer;
      },
      findRefund: async (refundId) => {
        await this.#travel();
        const known = this.refunds.get(refundId);
        return known && { state: known.state };
      },
      findPayments: async (orderId) => {
        await this.#travel();
        return [...this.payments.values()]
          .filter((payment) => payment.orderId === orderId)
          .map(({ paymentId, amountMinor }) => ({
            ...{ paymentId, amount: euro(amountMinor), refundedMinor: this.#wentBack(paymentId) },
          }));
      },
    };
  }

  #refund(refundId: string, paymentId: string, amountMinor: number): RefundState {
    const world = this.#world;
    const known = this.refunds.get(refundId);
    if (known) return { state: known.state };
    const payment = this.payments.get(paymentId);
    if (!payment) throw new BankError("refused", "there is no such payment");
    if (this.#wentBack(paymentId) + amountMinor > payment.amountMinor) {
      world.violated(`more than was paid would go back of payment ${paymentId}`);
    }
    if (world.trouble(REFUSED)) throw new BankError("refused", "not now, not ever");
    const slow = world.trouble(TAKES_ITS_TIME);
    const refund: AtBank = {
      refundId,
      paymentId,
      amountMinor,
      state: slow ? "pending" : "completed",
    };
    this.refunds.set(refundId, refund);
    world.say(`the bank refunds ${amountMinor} as ${refundId}: ${refund.state}`);
    const tell = (kind: "refunded" | "refund_failed") => {
      this.#report({ ...this.#event(payment.orderId, paymentId, amountMinor), kind, refundId });
    };
    const finish = () => {
      refund.state = "completed";
      if (world.random.chance(0.7)) tell("refunded");
      if (!world.trouble(BOUNCES)) return;
      // The customer's account is closed: the money comes back after all.
      world.at(world.random.between(1_000, 60_000), () => {
        refund.state = "failed";
        tell("refund_failed");
      });
    };
    if (slow) world.at(world.random.between(500, 120_000), finish);
    else finish();
    return { state: refund.state };
  }

  #wentBack(paymentId: string): number {
    return [...this.refunds.values()]
      .filter((one) => one.paymentId === paymentId && one.state !== "failed")
      .reduce((sum, one) => sum + one.amountMinor, 0);
  }

  /** To the bank or back; a caller that waits too long gets an unclear result. */
  async #travel(): Promise<void> {
    const machine = World.machine() as Machine;
    const world = this.#world;
    const slow = world.trouble(SLOW);
    await world.pause(slow ? world.random.between(100, TIMEOUT_MS) : world.random.between(5, 60), machine);
    await machine.mayEnd(0.01);
    if (world.trouble(UNCLEAR / 2)) throw new BankError("unclear", "no answer");
  }

  #event(orderId: string, paymentId: string, amountMinor: number) {
    return { eventId: `evt_${newId()}`, paymentId, orderId, amount: euro(amountMinor) };
  }
}

export function euro(amountMinor: number) {
  return { amountMinor, currency: "EUR" };
}
