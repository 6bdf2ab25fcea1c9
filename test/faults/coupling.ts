import { percentile } from "./ledger.ts";

/** The measurements of healthy parties in one of the alternating windows, with or without the faults of others. */
export interface SeenWindow {
  kind: "alone" | "beside";
  /** Requests that failed. */
  failed: number;
  /** Durations by what was measured, in milliseconds. */
  times: Record<string, readonly number[]>;
}

/** Of the p99 alone. */
const SHARE = 1.5;

/**
 * Finds where the troubles of some are felt by others: failures that there are not alone, and a p99 of more than 1.5
 * times that alone. The windows alternate, so what other programs of the machine do shows as a difference between two
 * windows of one kind: a coupling makes each window beside the troubles worse than each one alone.
 * @returns what is wrong, a line each
 */
export function coupling(windows: readonly SeenWindow[]): string[] {
  const alone = windows.filter(({ kind }) => kind === "alone");
  const beside = windows.filter(({ kind }) => kind === "beside");
  const found: string[] = [];
  const [failedAlone, failedBeside] = [alone, beside].map((all) => all.map(({ failed }) => failed)) as [
    number[],
    number[],
  ];
  const isClean = sum(failedAlone) === 0;
  if (isClean ? sum(failedBeside) > 0 : isWorse(failedAlone, failedBeside)) {
    found.push(`${failedBeside.join(" and ")} requests failed beside, alone ${failedAlone.join(" and ")}`);
  }
  for (const what of Object.keys(windows[0]?.times ?? {})) {
    const p99 = (some: readonly SeenWindow[]) =>
      percentile(
        some.flatMap(({ times }) => times[what] ?? []),
        0.99,
      );
    const each = (some: readonly SeenWindow[]) => some.map((one) => p99([one]));
    if (p99(beside) > SHARE * p99(alone) && isWorse(each(alone), each(beside))) {
      found.push(`${what}: the p99 went from ${p99(alone)} to ${p99(beside)} ms`);
    }
  }
  return found;
}

/** Whether each of the ones is more than each of the others. */
function isWorse(others: readonly number[], ones: readonly number[]): boolean {
  return Math.min(...ones) > Math.max(...others);
}

function sum(all: readonly number[]): number {
  return all.reduce((total, one) => total + one, 0);
}
