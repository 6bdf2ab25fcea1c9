import { leftOf, saidUntil, strikeHandled, untilHandled } from "../arrivals.ts";
import { acknowledged } from "../ledger.ts";
import { load, untilEvents } from "../load.ts";
import { answerFigures, compare, type Outcome, quiet, type Run, untilUp } from "../run.ts";

const POLL_MS = 20;
/** So many times the promised time is waited for, to tell late from lost. */
const PATIENCE = 2;

/** A server is back: from this moment on the clock runs. */
export interface Return {
  at: Date;
  figures: Record<string, string | number>;
  /** Why the fault was none. */
  problems: string[];
}

export interface Trouble {
  promise: string;
  title: string;
  events: number;
  /** From the server's return until everything is handled that was said until then; and for what the load leaves. */
  caughtUpWithinMs: number;
  /** Starts the fault after a third of the events. */
  fault(run: Run): Promise<Return>;
}

/** Orders live on while something happens to a server and when it is back; then all books are compared. */
export async function underLoad(run: Run, trouble: Trouble): Promise<Outcome> {
  const { ledger } = run;
  const { url } = run.cluster;
  const before = acknowledged(ledger);
  const living = load(run.world, ledger, run.random);
  const isThird = untilEvents(ledger, trouble.events / 3);
  const isAll = untilEvents(ledger, trouble.events);
  let isOver = false;
  const recovering = (async () => {
    while (!isThird()) await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    const back = await trouble.fault(run);
    isOver = true;
    const due = await saidUntil(url, back.at);
    const messages = [...due.values()].reduce((all, { size }) => all + size, 0);
    const goneMs = () => Date.now() - back.at.getTime();
    const limitMs = trouble.caughtUpWithinMs;
    await untilHandled(url, due, limitMs - goneMs());
    const left = await leftOf(url, due);
    await untilHandled(url, due, PATIENCE * limitMs - goneMs());
    return { ...back, due, messages, left, caughtUpMs: goneMs() };
  })();
  const recovered = recovering.finally(() => {
    isOver = true; // also when the fault itself went wrong
  });
  const [{ figures, problems, due, messages, left, caughtUpMs }] = await Promise.all([
    recovered,
    living.run(() => isAll() && isOver, run.scale.concurrency),
  ]);
  await untilUp(run);
  const { ms: drainedMs, last } = await quiet(run);
  const lost = await strikeHandled(url, due);
  const limitMs = trouble.caughtUpWithinMs;
  return {
    promise: trouble.promise,
    title: trouble.title,
    figures: {
      events: acknowledged(ledger) - before,
      ...figures,
      "said before the return": messages,
      "caught up ms": caughtUpMs,
      "drained ms": drainedMs,
      ...answerFigures(ledger),
    },
    late: [
      ...(caughtUpMs > limitMs
        ? [`caught up ${caughtUpMs} ms after the return; after ${limitMs} ms there were ${left.join("; ")}`]
        : []),
      ...(drainedMs > limitMs ? [`drained after ${drainedMs} ms: ${JSON.stringify(last)}`] : []),
    ],
    problems: [
      ...problems,
      ...(lost > 0
        ? [`said before the return and never handled: ${(await leftOf(url, due)).join("; ")}`]
        : []),
      ...living.strange,
      ...(await compare(run)),
    ],
  };
}
