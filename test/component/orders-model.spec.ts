import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { type Operation, outcomeOf } from "../histories/history.ts";
import { People, TOTAL_MINOR } from "../histories/order-histories.ts";
import { type OrderInput, type OrderState, orderModel } from "../histories/order-model.ts";
import { startMoodyBank } from "../support/moody-bank.ts";
import { type OrdersHarness, startOrders } from "../support/orders-service.ts";

const RUNS = 25;
const COMMANDS_MAX = 14;
const { initial, apply, internal, key } = orderModel(TOTAL_MINOR);

let bank: Awaited<ReturnType<typeof startMoodyBank>>;
let shop: OrdersHarness;
beforeAll(async () => {
  bank = await startMoodyBank();
  shop = await startOrders({ bankUrl: bank.url });
});
afterAll(async () => {
  await shop.stop();
  await bank.stop();
});

/** The states that the order may be in: what happens by itself may have happened or not. */
interface Believed {
  states: readonly OrderState[];
}

/** One command of one person; fast-check makes lives of them and shortens a life that goes wrong. */
class Command implements fc.AsyncCommand<Believed, People> {
  readonly #input: (people: People) => OrderInput;
  readonly #name: string;

  constructor(name: string, input: (people: People) => OrderInput) {
    this.#name = name;
    this.#input = input;
  }

  check = () => true;

  async run(believed: Believed, people: People): Promise<void> {
    const input = this.#input(people);
    const outcome = await outcomeOf(people.act(input));
    const operation: Operation<OrderInput> = { input, invoked: 0, returned: 0, outcome };
    const explained = withInternal(believed.states).flatMap((state) => apply(state, operation) ?? []);
    if (explained.length === 0) {
      throw new Error(`${JSON.stringify({ input, outcome })} from ${JSON.stringify(believed.states)}`);
    }
    believed.states = explained;
  }

  toString = () => this.#name;
}

function withInternal(states: readonly OrderState[]): OrderState[] {
  const known = new Map<string, OrderState>();
  const visit = (state: OrderState) => {
    if (known.has(key(state))) return;
    known.set(key(state), state);
    for (const next of internal(state)) visit(next);
  };
  for (const state of states) visit(state);
  return [...known.values()];
}

const command = (name: string, input: (people: People) => OrderInput) =>
  fc.constant(new Command(name, input));
const byCourier = (what: "assign" | "release" | "fail") =>
  fc.nat(1).map((n) => new Command(`${what} ${n}`, (people) => ({ do: what, by: people.courier(n) })));
const plain = (what: "accept" | "ready" | "reject" | "edit" | "read" | "overdue" | "confirm") =>
  command(what, () => ({ do: what }));

const commands = [
  fc.nat(2).map((n) => new Command(`pay ${n}`, (people) => people.payment(n))),
  fc.constant(new Command("pay 0", (people) => people.payment(0))),
  ...(["accept", "ready", "ready", "reject", "edit", "read", "overdue", "confirm"] as const).map(plain),
  ...(["assign", "assign", "release", "fail"] as const).map(byCourier),
  fc.tuple(fc.nat(1), fc.boolean()).map(
    ([n, rightPin]) =>
      new Command(`deliver ${n} ${rightPin}`, (people) => ({
        do: "deliver",
        by: people.courier(n),
        rightPin,
      })),
  ),
  fc
    .constantFrom("customer", "admin")
    .map((by) => new Command(`cancel by ${by}`, () => ({ do: "cancel", by }))),
  fc
    .integer({ min: 1, max: 3_500 })
    .map((amountMinor) => new Command(`refund ${amountMinor}`, () => ({ do: "refund", amountMinor }))),
  command("refund all", () => ({ do: "refund" })),
];

describe("the life of an order, in any order of commands", () => {
  it("matches the model in every answer and state", async () => {
    let lived = 0;
    await fc.assert(
      fc.asyncProperty(fc.commands(commands, { maxCommands: COMMANDS_MAX }), async (life) => {
        const people = new People(shop, await shop.confirmed());
        await fc.asyncModelRun(() => ({ model: { states: [initial] }, real: people }), life);
        lived += 1;
      }),
      { numRuns: RUNS },
    );
    expect(lived).toBe(RUNS);
  });

  it("stays locked after wrong PINs when it is released and assigned again", async () => {
    const people = new People(shop, await shop.confirmed());
    const by = people.courier(0);
    const guess: OrderInput = { do: "deliver", by, rightPin: false };
    const release: OrderInput = { do: "release", by };
    const assign: OrderInput = { do: "assign", by };
    const life: OrderInput[] = [people.payment(0), { do: "accept" }, { do: "ready" }, assign];
    life.push(guess, guess, guess, guess, release, assign, guess, guess, release, assign);
    life.push({ do: "assign", by: people.courier(1) }, { do: "read" });
    const believed: Believed = { states: [initial] };
    for (const input of life) await new Command(input.do, () => input).run(believed, people);
    expect(believed.states).toContainEqual(expect.objectContaining({ status: "ready", wrongPins: 5 }));
  });
});
