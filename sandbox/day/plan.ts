/** The unusual course of an order of the day. */
export type Turn = "none" | "rejected" | "cancelled" | "released" | "delayed";

export interface PlannedOrder {
  /** The time of the day, in minutes. The day is played faster than it would pass. */
  atMinute: number;
  customer: number;
  /** Index in `shops`. */
  shop: number;
  lines: { product: number; quantity: number }[];
  /** How long the staff think, cook, and the courier rides. */
  answerMs: number;
  prepareMs: number;
  rideMs: number;
  courier: number;
  /** Of a released order: the courier who takes it next. */
  nextCourier: number;
  turn: Turn;
}

export interface Shop {
  title: string;
  street: string;
  position: { latitude: number; longitude: number };
  /** The first shop has a system with a webhook; the staff of the others work by hand. */
  byHand: boolean;
  products: readonly (readonly [title: string, priceMinor: number])[];
}

export const shops: readonly Shop[] = [
  {
    title: "Suppe & Salz",
    street: "Choriner Straße 8",
    position: { latitude: 52.5317, longitude: 13.4063 },
    byHand: false,
    products: [
      ["Lentil soup", 690],
      ["Borscht", 740],
      ["Potato soup", 650],
      ["Bread", 180],
      ["Iced tea", 320],
    ],
  },
  {
    title: "Ofen am Tor",
    street: "Torstraße 90",
    position: { latitude: 52.5291, longitude: 13.4031 },
    byHand: true,
    products: [
      ["Flatbread with feta", 790],
      ["Flatbread with mushrooms", 760],
      ["Spinach pie", 520],
      ["Ayran", 220],
      ["Baklava", 380],
    ],
  },
  {
    title: "Wilde Gurke",
    street: "Schönhauser Allee 44",
    position: { latitude: 52.5386, longitude: 13.4118 },
    byHand: true,
    products: [
      ["Cucumber salad", 590],
      ["Falafel bowl", 940],
      ["Rice bowl", 890],
      ["Lemonade", 340],
      ["Halva", 410],
    ],
  },
];

export const couriers = ["Anna", "Bilal", "Chiara", "Dmitri"] as const;
export const customers = [
  ...["Ada", "Ben", "Clara", "Daniyar", "Elif", "Farid", "Greta", "Hugo", "Ines", "Jonas"],
  ...["Kemal", "Lena", "Mehri", "Nils", "Olga", "Pablo", "Rosa", "Samir", "Tara", "Uwe"],
] as const;

const FIRST_MINUTE = 7 * 60;
const LAST_MINUTE = 22 * 60;
const LINES_MAX = 3;
const TURNS: readonly Turn[] = ["rejected", "cancelled", "released", "released", "delayed"];

/**
 * The orders of a day, one for each customer, the earliest first. The same seed gives the same day.
 * @param count of customers. Default: all
 */
export function dayPlan(seed: number, count: number = customers.length): PlannedOrder[] {
  const random = randomOf(seed);
  const below = (end: number) => Math.floor(random() * end);
  const plan = customers.slice(0, count).map((_, customer): PlannedOrder => {
    const courier = below(couriers.length);
    return {
      atMinute: FIRST_MINUTE + below(LAST_MINUTE - FIRST_MINUTE),
      customer,
      shop: customer % shops.length,
      lines: linesOf(below),
      answerMs: 100 + below(500),
      prepareMs: 200 + below(600),
      rideMs: 200 + below(800),
      courier,
      nextCourier: (courier + 1 + below(couriers.length - 1)) % couriers.length,
      turn: "none",
    };
  });
  // Only people reject, delay and let a customer change their mind in time.
  const byHand = plan.filter(({ shop }) => shops[shop]?.byHand);
  for (const turn of TURNS) {
    const [order] = byHand.splice(below(byHand.length), 1);
    if (order) order.turn = turn;
  }
  return plan.sort((a, b) => a.atMinute - b.atMinute || a.customer - b.customer);
}

function linesOf(below: (end: number) => number): PlannedOrder["lines"] {
  const first = below(LINES_MAX);
  return Array.from({ length: 1 + below(LINES_MAX) }, (_, line) => ({
    product: first + line,
    quantity: 1 + below(2),
  }));
}

/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
