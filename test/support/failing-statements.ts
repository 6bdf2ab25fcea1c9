import { AsyncLocalStorage } from "node:async_hooks";
import type { QueryConfig } from "pg";
import { Database } from "../../lib/sql/database.ts";

/** The statements of one call, without those of work that runs beside it. */
interface Call {
  sent: string[];
  /** The index of the statement that fails. */
  failsAt?: number;
}

export interface Statement {
  text: string;
  values: readonly unknown[];
}

/**
 * Makes a call again and again, each time with another of its statements failing, until each has failed once.
 * @param prepare makes what one call needs, and returns the call
 * @param isCounted only these statements fail
 * @returns the outcome without a failure, and the statements whose failure leaves the outcome as it is
 */
export async function hiddenFailures(
  prepare: () => Promise<() => Promise<unknown>>,
  isCounted: (statement: Statement) => boolean,
): Promise<{ outcome: string; hidden: string[] }> {
  const calls = new AsyncLocalStorage<Call>();
  const { send } = Database.prototype;
  Database.prototype.send = function (client, statement) {
    const call = calls.getStore();
    const { text, values = [] }: QueryConfig =
      typeof statement === "string" ? { text: statement } : statement;
    if (!call || !isCounted({ text, values })) return send.call(this, client, statement);
    call.sent.push(nameOf(text));
    if (call.sent.length - 1 !== call.failsAt) return send.call(this, client, statement);
    // A code with which no call is repeated.
    return Promise.reject(Object.assign(new Error("made to fail"), { severity: "ERROR", code: "XX000" }));
  };
  const outcomeOf = async (call: Call) => {
    const work = await prepare();
    return calls.run(call, () =>
      work().then(
        () => "done",
        (error: { type?: string; message: string }) => error.type ?? error.message,
      ),
    );
  };
  try {
    const whole: Call = { sent: [] };
    const outcome = await outcomeOf(whole);
    const hidden: string[] = [];
    for (let failsAt = 0; failsAt < whole.sent.length; failsAt++) {
      const call: Call = { sent: [], failsAt };
      if ((await outcomeOf(call)) === outcome) hidden.push(call.sent[failsAt] ?? "never sent");
    }
    return { outcome, hidden };
  } finally {
    Database.prototype.send = send;
  }
}

/**
 * Makes a call, and changes something just before its first statement of this kind is sent: what another request or
 * process may do at this moment.
 */
export async function withChangeBefore<T>(
  statement: RegExp,
  change: () => Promise<unknown>,
  call: () => Promise<T>,
): Promise<T> {
  const calls = new AsyncLocalStorage<{ isChanged: boolean }>();
  const { send } = Database.prototype;
  Database.prototype.send = async function (client, sent) {
    const current = calls.getStore();
    const text = typeof sent === "string" ? sent : sent.text;
    if (current && !current.isChanged && statement.test(text)) {
      current.isChanged = true;
      await change();
    }
    return send.call(this, client, sent);
  };
  const state = { isChanged: false };
  const outcome = calls.run(state, async () => await call());
  await outcome.catch(() => undefined);
  Database.prototype.send = send;
  if (!state.isChanged) throw new Error(`the call has sent no statement like ${statement}`);
  return await outcome;
}

/** The first verb with its table, e.g. "DELETE FROM allowances". */
function nameOf(text: string): string {
  return /\b(?:INSERT INTO|UPDATE|FROM|DELETE FROM) \w+/.exec(text)?.[0] ?? text;
}
