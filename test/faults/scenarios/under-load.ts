import { acknowledged } from "../ledger.ts";
import { load, untilEvents } from "../load.ts";
import { answerFigures, compare, type Outcome, quiet, type Run, untilUp } from "../run.ts";

export interface Trouble {
  promise: string;
  title: string;
  events: number;
  drainedWithinMs: number;
  /** What is done once a third of the events came. @returns figures */
  fault(run: Run): Promise<Record<string, string | number>>;
}

/** Orders live on while something happens to a server; then all books are compared. */
export async function underLoad(run: Run, trouble: Trouble): Promise<Outcome> {
  const { ledger } = run;
  const before = acknowledged(ledger);
  const living = load(run.world, ledger, run.random);
  const isThird = untilEvents(ledger, trouble.events / 3);
  const isAll = untilEvents(ledger, trouble.events);
  let figures: Record<string, string | number> | undefined;
  const troubling = (async () => {
    while (!isThird()) await new Promise((resolve) => setTimeout(resolve, 20));
    figures = await trouble.fault(run);
  })();
  await Promise.all([living.run(() => isAll() && figures !== undefined, run.scale.concurrency), troubling]);
  await untilUp(run);
  const { ms: drainedMs, last } = await quiet(run);
  return {
    promise: trouble.promise,
    title: trouble.title,
    figures: {
      events: acknowledged(ledger) - before,
      ...figures,
      "drained ms": drainedMs,
      ...answerFigures(ledger),
    },
    late:
      drainedMs > trouble.drainedWithinMs ? [`drained after ${drainedMs} ms: ${JSON.stringify(last)}`] : [],
    problems: [...living.strange, ...(await compare(run))],
  };
}
