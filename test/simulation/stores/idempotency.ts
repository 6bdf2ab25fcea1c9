import type { Write } from "../../../lib/sql/database.ts";
import type * as real from "../../../mixins/postgres/idempotency.repository.ts";
import { type Session, statement } from "../memory.ts";
import type { View } from "../view.ts";

export * from "../../../mixins/postgres/idempotency.repository.ts";

interface KeyRecord {
  bodyHash: string;
  answer?: { value: unknown } | undefined;
  leaseToken?: string | undefined;
  leaseUntilMs?: number | undefined;
}

const TABLE = "idempotency_keys";
const keyOf = ({ userId, scope, key }: real.RequestKey) => `${userId}/${scope}/${key}`;
/** As the database keeps it: an answer that is changed afterwards does not change what was stored. */
const stored = (value: unknown) => ({ value: structuredClone(value) });

export const tryLock: typeof real.tryLock = (trx, of) =>
  statement(trx, () => (trx as unknown as Session).tryLock(`advisory/${keyOf(of)}`));

export const findKey: typeof real.findKey = (db, of) =>
  statement(db, (view) => {
    const found = view.get<KeyRecord>(TABLE, keyOf(of));
    return found && { bodyHash: found.bodyHash, ...(found.answer && { answer: found.answer }) };
  });

export const storeAnswer: typeof real.storeAnswer = async (trx, of, answer) => {
  await statement(trx, (view) => {
    const row: KeyRecord = { bodyHash: of.bodyHash, answer: stored(answer) };
    if (!view.insert(TABLE, keyOf(of), row)) view.update(TABLE, keyOf(of), row);
  });
};

export const claimKey: typeof real.claimKey = (db, of, token, leaseMs) =>
  statement(db, (view) => {
    const row: KeyRecord = {
      bodyHash: of.bodyHash,
      leaseToken: token,
      leaseUntilMs: view.nowMs + leaseMs,
    };
    if (view.insert(TABLE, keyOf(of), row)) return true;
    const known = view.locked<KeyRecord>(TABLE, keyOf(of));
    const free = known && !known.answer && (known.leaseUntilMs ?? 0) < view.nowMs;
    if (!free || known.bodyHash !== of.bodyHash) return false;
    view.update(TABLE, keyOf(of), row);
    return true;
  });

/** In the simulation a part of a larger statement is a function. */
export interface SimulatedWrite extends Write {
  apply: (view: View) => void;
}

export const finishKey: typeof real.finishKey = (db, of, token, answer, effect) =>
  statement(db, (view) => {
    (effect as SimulatedWrite | undefined)?.apply(view);
    if (view.locked<KeyRecord>(TABLE, keyOf(of))?.leaseToken !== token) return false;
    view.update(TABLE, keyOf(of), { bodyHash: of.bodyHash, answer: stored(answer) });
    return true;
  });

export const writeEffect: typeof real.writeEffect = (db, effect) =>
  statement(db, (view) => (effect as SimulatedWrite).apply(view));

export const releaseKey: typeof real.releaseKey = async (db, of, token) => {
  await statement(db, (view) => {
    if (view.locked<KeyRecord>(TABLE, keyOf(of))?.leaseToken === token) view.delete(TABLE, keyOf(of));
  });
};

export const pruneKeys: typeof real.pruneKeys = async () => 0;
