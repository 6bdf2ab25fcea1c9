import type { Operation } from "./history.ts";

/** The behaviour of one object under sequential operations. */
export interface Model<State, Input> {
  readonly initial: State;
  /** The next state if the outcome fits; undefined if it does not. */
  apply(state: State, operation: Operation<Input>): State | undefined;
  /** The states that may follow without an operation. */
  internal(state: State): State[];
  /** Equal for states that no operation distinguishes. */
  key(state: State): string;
}

export interface Verdict {
  linearizable: boolean;
  /** Operations in the longest order that fits. */
  longest: number[];
  /** States that were looked at. */
  visited: number;
}

const OPERATIONS_MAX = 31;

/**
 * Whether the history is linearizable: one order of the operations, each within its time, in which every answer is the
 * model's answer (search of Wing and Gong, with Lowe's cache of visited states). Operations without an answer may be
 * left out.
 * @throws RangeError for more than 31 operations
 */
export function check<State, Input>(
  model: Model<State, Input>,
  operations: readonly Operation<Input>[],
): Verdict {
  if (operations.length > OPERATIONS_MAX) throw new RangeError(`at most ${OPERATIONS_MAX} operations`);
  const mustBeDone = operations.reduce(
    (mask, { outcome }, index) => (outcome.kind === "unknown" ? mask : mask | (1 << index)),
    0,
  );
  const seen = new Set<string>();
  let longest: number[] = [];
  const path: number[] = [];

  const search = (state: State, done: number): boolean => {
    if ((done & mustBeDone) === mustBeDone) return true;
    const known = `${done} ${model.key(state)}`;
    if (seen.has(known)) return false;
    seen.add(known);
    // An operation that began after another had ended comes after it.
    let firstEnd = Number.POSITIVE_INFINITY;
    for (const [index, { returned }] of operations.entries()) {
      if (!(done & (1 << index)) && returned < firstEnd) firstEnd = returned;
    }
    for (const [index, operation] of operations.entries()) {
      if (done & (1 << index) || operation.invoked > firstEnd) continue;
      const next = model.apply(state, operation);
      if (next === undefined) continue;
      path.push(index);
      if (path.length > longest.length) longest = [...path];
      if (search(next, done | (1 << index))) return true;
      path.pop();
    }
    return model.internal(state).some((next) => search(next, done));
  };

  const linearizable = search(model.initial, 0);
  return { linearizable, longest, visited: seen.size };
}
