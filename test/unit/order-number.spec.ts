import { describe, expect, it } from "@jest/globals";
import { orderNumber } from "../../contracts/shared.ts";
import { newId } from "../../lib/ids.ts";
import { numberCandidates } from "../../services/orders/domain/order-number.ts";

const ORDERS = 2_000;

describe("the numbers that an order may get", () => {
  it("are short, follow from its id, and get longer the more are taken", () => {
    const id = newId();
    const numbers = numberCandidates(id);
    expect(numberCandidates(id)).toEqual(numbers);
    expect(numbers.map((number) => number.length)).toEqual([6, 6, 6, 7, 9]);
    expect(new Set(numbers).size).toBe(numbers.length);
    for (const number of numbers) expect(number).toMatch(orderNumber.pattern);
  });

  it("of an id, stay the same in each version: numbers that were given stay the order's", () => {
    expect(numberCandidates("0198b000-0000-7000-8000-000000000001")).toEqual([
      "J4-807",
      "C3-626",
      "J6-097",
      "W8-4411",
      "Y5-010816",
    ]);
  });

  it("are spread over all prefixes and digits", () => {
    const first = Array.from({ length: ORDERS }, () => numberCandidates(newId())[0] as string);
    // Of 2,000 draws out of 230,000 numbers, about nine are repeats.
    expect(new Set(first).size).toBeGreaterThan(ORDERS - 50);
    expect(new Set(first.map((number) => number[0])).size).toBe(23);
    for (const place of [1, 3, 4, 5]) expect(new Set(first.map((number) => number[place])).size).toBe(10);
  });
});
