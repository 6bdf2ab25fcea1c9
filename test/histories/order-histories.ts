import { setTimeout as delay } from "node:timers/promises";
import type { QuotedLine } from "../../contracts/partners.ts";
import { deliveryTokens } from "../../lib/delivery-tokens.ts";
import { newId } from "../../lib/ids.ts";
import { Random } from "../simulation/random.ts";
import { sampleQuote } from "../support/orders.ts";
import { type OrdersHarness, ordersSettings } from "../support/orders-service.ts";
import type { TestClaims } from "../support/tokens.ts";
import { type Operation, outcomeOf, Recorder, SILENT, untilMade } from "./history.ts";
import { check, type Verdict } from "./linearizable.ts";
import { type OrderInput, orderModel } from "./order-model.ts";

export const TOTAL_MINOR = 2950;
const ORDERS_AT_ONCE = 6;
const CLIENTS = 6;
const OPERATIONS_EACH = 2;
const ABANDONED = 0.08;
/** How many orders have a payment beside them that none counts, of each kind. */
const STRAYS = 0.2;
const STRAY_MINOR = 777;
const PAUSE_MAX_MS = 8;
const BEGINNINGS: readonly OrderInput["do"][] = ["pay", "accept", "ready", "assign"];

export interface OrderHistory {
  seed: number;
  orderId: string;
  operations: readonly Operation<OrderInput>[];
  /** Operations of which nothing is known but that they did nothing. */
  dropped: number;
  verdict: Verdict;
}

export interface HistoriesReport {
  histories: number;
  operations: number;
  /** Operations without a known result: where many are, anything can be explained. */
  unknown: number;
  /** Operations that were refused for nothing but bad luck, and are not among the others. */
  dropped: number;
  violations: OrderHistory[];
}

/**
 * Lets several clients at once do to each of many orders whatever they may, and looks whether every order can be
 * explained by one operation after the other.
 * @param seed of the first history; each next one has the next
 */
export async function orderHistories(
  shop: OrdersHarness,
  { histories, seed }: { histories: number; seed: number },
): Promise<HistoriesReport> {
  const report: HistoriesReport = { histories, operations: 0, unknown: 0, dropped: 0, violations: [] };
  let next = seed;
  const worker = async () => {
    while (next < seed + histories) {
      const mine = next;
      next += 1;
      const history = await oneHistory(shop, mine);
      report.operations += history.operations.length;
      report.unknown += history.operations.filter(({ outcome }) => outcome.kind === "unknown").length;
      report.dropped += history.dropped;
      if (!history.verdict.linearizable) report.violations.push(history);
    }
  };
  await Promise.all(Array.from({ length: ORDERS_AT_ONCE }, worker));
  return report;
}

async function oneHistory(shop: OrdersHarness, seed: number): Promise<OrderHistory> {
  const random = new Random(seed);
  const order = await untilMade(() => shop.confirmed({ lines: emojiLines() }));
  const people = new People(shop, order, random.pick(WORDS));
  const recorder = new Recorder<OrderInput>();
  const act = (what: OrderInput["do"], abandoned = false) => {
    const input = people.input(what, random);
    return recorder.run(input, () => people.act(input), abandoned);
  };
  for (const what of BEGINNINGS.slice(0, random.between(0, BEGINNINGS.length))) await act(what);
  const scripts = Array.from({ length: CLIENTS }, () =>
    Array.from({ length: OPERATIONS_EACH }, () => ({
      what: random.pick(WEIGHTED),
      pauseMs: random.between(0, PAUSE_MAX_MS),
      abandoned: random.chance(ABANDONED),
    })),
  );
  const strays = strayPayments(random, order.orderId);
  await Promise.all([
    ...scripts.map(async (script) => {
      for (const { what, pauseMs, abandoned } of script) {
        await delay(pauseMs);
        await act(what, abandoned);
      }
    }),
    ...strays.map((payment) => reportStray(shop, payment)),
  ]);
  await act("read");
  const { operations, dropped } = recorder;
  const verdict = check(orderModel(TOTAL_MINOR), operations);
  return { seed, orderId: order.orderId, operations, dropped, verdict };
}

/** A payment that no order counts: it names an order that is none, or is in a currency that is not the order's. */
interface Stray {
  orderId: string;
  currency: "EUR" | "CHF";
  paymentId: string;
  /** How often the bank reports it. */
  times: number;
}

/** Banks report them beside everything else; nothing of the order may change by them. */
function strayPayments(random: Random, orderId: string): Stray[] {
  const stray = (of: Pick<Stray, "orderId" | "currency">): Stray => ({
    ...of,
    paymentId: `pay_${newId()}`,
    times: random.between(1, 2),
  });
  return [
    ...(random.chance(STRAYS) ? [stray({ orderId: newId(), currency: "EUR" })] : []),
    ...(random.chance(STRAYS) ? [stray({ orderId, currency: "CHF" })] : []),
  ];
}

/** @throws Error for an answer that a bank must not get */
async function reportStray(shop: OrdersHarness, { orderId, currency, paymentId, times }: Stray) {
  const outcomes = await Promise.all(
    Array.from({ length: times }, () => outcomeOf(shop.paid(orderId, STRAY_MINOR, { currency, paymentId }))),
  );
  for (const outcome of outcomes) {
    if (outcome.kind === "refusal" && !SILENT.test(outcome.type)) {
      throw new Error(`a payment in ${currency} for the order ${orderId} was answered ${outcome.type}`);
    }
  }
}

/** Titles as people write them; all orders have the same sum. */
function emojiLines() {
  const [bread, butter] = sampleQuote().lines as [QuotedLine, QuotedLine];
  return [
    { ...bread, title: "🥖".repeat(80) },
    { ...butter, title: `Butter ${"👩‍🍳".repeat(30)}` },
  ];
}

/** Reasons, some as long as they may be. */
const WORDS = ["sold out", `x${"🥡".repeat(249)}`, "🧾".repeat(250)] as const;

const WEIGHTED: readonly OrderInput["do"][] = [
  ...(["pay", "pay", "accept", "ready", "reject", "cancel", "cancel", "assign", "assign", "assign"] as const),
  ...([
    "release",
    "fail",
    "pickup",
    "pickup",
    "deliver",
    "deliver",
    "refund",
    "edit",
    "read",
    "read",
    "overdue",
    "confirm",
  ] as const),
];

const { pinOf, pickupCodeOf } = deliveryTokens(ordersSettings("").HANDOVER_SECRET);
const wrongPinOf = (orderId: string) => String((Number(pinOf(orderId)) + 1) % 10_000).padStart(4, "0");

type Placed = Awaited<ReturnType<OrdersHarness["confirmed"]>>;

/** Everybody who has to do with one order. */
export class People {
  readonly #shop: OrdersHarness;
  readonly #order: Placed;
  readonly #couriers: TestClaims[] = [
    { id: newId(), role: "deliverer" },
    { id: newId(), role: "deliverer" },
  ];
  readonly #payments = [`pay_${newId()}`, `pay_${newId()}`, `pay_${newId()}`];

  /** The reason of all refusals. */
  readonly #words: string;

  constructor(shop: OrdersHarness, order: Placed, words: string = WORDS[0]) {
    this.#shop = shop;
    this.#order = order;
    this.#words = words;
  }

  /** @param which 0 or 1 */
  courier(which: number): string {
    return this.#couriers[which]?.id as string;
  }

  /** A payment is of the same amount however often it is reported. @param which 0 to 2: exact, too little, too much */
  payment(which: number): OrderInput {
    const amountMinor = [TOTAL_MINOR, 1_950, 3_000][which] as number;
    return { do: "pay", paymentId: this.#payments[which] as string, amountMinor };
  }

  /** A random input for this operation. */
  input(what: OrderInput["do"], random: Random): OrderInput {
    const by = this.courier(random.between(0, 1));
    switch (what) {
      case "pay":
        return this.payment(random.between(0, 2));
      case "cancel":
        return { do: what, by: random.pick(["customer", "admin"] as const) };
      case "assign":
      case "release":
      case "fail":
        return { do: what, by };
      case "pickup":
        return { do: what, by, rightCode: random.chance(0.8) };
      case "deliver":
        return { do: what, by, rightPin: random.chance(0.6) };
      case "refund":
        return random.chance(0.5) ? { do: what } : { do: what, amountMinor: random.between(1, 1_500) };
      default:
        return { do: what };
    }
  }

  act(input: OrderInput): Promise<unknown> {
    const shop = this.#shop;
    const { orderId, customer, quote } = this.#order;
    const as = (id: string): TestClaims => ({ id, role: "deliverer" });
    switch (input.do) {
      case "confirm":
        return shop.as(customer, "orders.confirm", {
          ...{ bankId: shop.bankId, quote },
          customer: { id: customer.id as string, name: "Ada Byron", phone: "+41790000000" },
        });
      case "pay":
        return shop.paid(orderId, input.amountMinor, { paymentId: input.paymentId });
      case "accept":
        return shop.say(this.#order, "order.accepted");
      case "ready":
        return shop.say(this.#order, "order.ready");
      case "reject":
        return shop.say(this.#order, "order.rejected", { reason: this.#words });
      case "cancel":
        return shop.as(input.by === "admin" ? shop.admin : customer, "orders.cancel", {
          orderId,
          reason: this.#words,
        });
      case "assign":
        return shop.as(as(input.by), "orders.assign", { orderId });
      case "release":
        return shop.as(as(input.by), "orders.release", { orderId });
      case "fail":
        return shop.as(as(input.by), "orders.fail", { orderId, reason: this.#words });
      case "pickup": {
        const code = input.rightCode ? pickupCodeOf(orderId) : "WRONG222";
        return shop.as(as(input.by), "orders.pickUp", { orderId, code });
      }
      case "deliver": {
        const pin = input.rightPin ? pinOf(orderId) : wrongPinOf(orderId);
        return shop.as(as(input.by), "orders.deliver", { orderId, pin });
      }
      case "refund": {
        const amount = input.amountMinor && { amountMinor: input.amountMinor, currency: "EUR" };
        return shop.as(shop.admin, "orders.refund", {
          orderId,
          reason: this.#words,
          ...(amount && { amount }),
        });
      }
      case "edit":
        return shop.as(customer, "orders.update", { orderId, note: newId() });
      case "read":
        return shop.get(this.#order);
      case "overdue":
        return shop.sql(
          "UPDATE orders SET deadline_at = now() - interval '1 second', partner_notified_at = now() WHERE id = $1 AND deadline_at IS NOT NULL",
          [orderId],
        );
    }
  }
}
