import { newId } from "../../lib/ids.ts";
import type { OrdersHarness } from "../support/orders-service.ts";
import { type Outcome, outcomeOf, SILENT, untilMade } from "./history.ts";

const RACES_AT_ONCE = 3;

export interface RacesReport {
  /** Races with an end, right or wrong: as many as were asked for, unless as many again had none. */
  decided: number;
  /** Races without a winner and without an answer: each was run again. */
  undecided: number;
  /** Orders for which not exactly one courier got a success, or that another courier has. */
  violations: string[];
  /** The answers to the couriers that lost. */
  refusals: string[];
}

/** Many couriers assign themselves one ready order at the same moment; one gets it, and all others are refused. */
export async function courierRaces(
  shop: OrdersHarness,
  { races, couriers = 20 }: { races: number; couriers?: number },
): Promise<RacesReport> {
  const report = { decided: 0, undecided: 0, violations: [] as string[] };
  const refusals = new Set<string>();
  let left = races;
  const worker = async () => {
    while (left > 0 && report.undecided <= races) {
      left -= 1;
      const { orderId } = await untilMade(() => shop.placed("ready"));
      const ids = Array.from({ length: couriers }, () => newId());
      const heard = await Promise.all(
        ids.map((id) => outcomeOf(shop.as({ id, role: "deliverer" }, "orders.assign", { orderId }))),
      );
      const [row] = await shop.sql<{ deliverer_id: string | null }>(
        "SELECT deliverer_id FROM orders WHERE id = $1",
        [orderId],
      );
      for (const outcome of heard) if (outcome.kind === "refusal") refusals.add(outcome.type);
      const answers = ids.map((id, index) => ({ id, outcome: heard[index] as Outcome }));
      const deliverer = row?.deliverer_id ?? undefined;
      if (!deliverer && answers.every(({ outcome }) => isSilent(outcome))) {
        report.undecided += 1;
        left += 1;
        continue;
      }
      report.decided += 1;
      const wrong = wrongWith(answers, deliverer);
      if (wrong) report.violations.push(`${orderId}: ${wrong}`);
    }
  };
  await Promise.all(Array.from({ length: RACES_AT_ONCE }, worker));
  return { ...report, refusals: [...refusals].sort() };
}

const isSilent = (outcome: Outcome) => outcome.kind === "refusal" && SILENT.test(outcome.type);

/** One has it and got a success or no answer; no other courier got a success; every refusal has a reason. */
function wrongWith(
  answers: readonly { id: string; outcome: Outcome }[],
  deliverer: string | undefined,
): string | undefined {
  const told = answers.filter(({ outcome }) => outcome.kind === "answer").map(({ id }) => id);
  if (told.length > 1) return `${told.length} winners`;
  if (told.length === 1) return told[0] === deliverer ? undefined : "another one has it";
  const silent = answers.filter(({ outcome }) => isSilent(outcome));
  if (silent.some(({ id }) => id === deliverer)) return undefined; // the winner's answer was lost
  return `no winner, and ${deliverer ?? "nobody"} has it`;
}
