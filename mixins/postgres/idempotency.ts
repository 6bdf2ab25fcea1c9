import { fail } from "../../contracts/errors.ts";
import type { Ctx } from "../../contracts/meta.ts";
import { failpoint } from "../../lib/failpoint.ts";
import { newId } from "../../lib/ids.ts";
import type { Db, Transaction, Write } from "../../lib/sql/database.ts";
import { callerOf } from "../caller/caller.ts";
import {
  claimKey,
  findKey,
  finishKey,
  type RequestKey,
  releaseKey,
  type StoredKey,
  storeAnswer,
  tryLock,
  writeEffect,
} from "./idempotency.repository.ts";
import type { Postgres } from "./postgres.mixin.ts";

const LEASE_MS = 15_000;

type AnyCtx = Ctx<unknown>;

/**
 * Runs `work` once for each Idempotency-Key of a caller. The key, the hash of the body and the answer are committed with
 * the effect, in one transaction. A repeated request gets the stored answer. Without a key it is an ordinary transaction.
 * @param scope a key is unique for its caller and scope: the name of the action
 * @throws IDEMPOTENCY_IN_FLIGHT while an equal request runs, IDEMPOTENCY_MISMATCH for another body,
 *   UNAUTHENTICATED without a signed-in caller
 */
export async function idempotent<T>(
  postgres: Postgres,
  ctx: AnyCtx,
  scope: string,
  work: (trx: Transaction) => Promise<T>,
): Promise<T> {
  const key = keyOf(ctx, scope);
  if (!key) return postgres.transact(work);
  return await postgres.transact(async (trx) => {
    if (!(await tryLock(trx, key))) throw fail("IDEMPOTENCY_IN_FLIGHT");
    const stored = await findKey(trx, key);
    if (stored) return replay<T>(ctx, key, stored);
    const result = await work(trx);
    await storeAnswer(trx, key, result);
    failpoint("idempotency.stored");
    return result;
  });
}

/**
 * Stores the answer in the last transaction of the work and returns it. @throws IDEMPOTENCY_IN_FLIGHT after a lost lease
 * @param db the transaction of the work. With `effect` it may be a database without a transaction
 * @param effect a write in the same statement. Without a transaction it is made although the lease is lost, so it must do
 *   no harm then
 */
export type Finish<T> = (db: Db, answer: T, effect?: Write) => Promise<T>;

/**
 * The same for work that calls an external system between two transactions. The key is claimed first, under a lease of 15
 * seconds, and `finish` stores the answer in the last transaction of the work. If the process ends before that, the key can
 * be claimed again after the lease. So the work must be safe to repeat: by unique keys of its own, and by the idempotency
 * keys of the external system.
 * @throws IDEMPOTENCY_IN_FLIGHT, IDEMPOTENCY_MISMATCH, UNAUTHENTICATED as `idempotent`
 */
export async function idempotentLeased<T>(
  postgres: Postgres,
  ctx: AnyCtx,
  scope: string,
  work: (finish: Finish<T>) => Promise<T>,
): Promise<T> {
  const key = keyOf(ctx, scope);
  if (!key) {
    return work(async (db, answer, effect) => {
      if (effect) await writeEffect(db, effect);
      return answer;
    });
  }
  const token = newId();
  if (!(await claimKey(postgres.db, key, token, LEASE_MS))) {
    const stored = await findKey(postgres.db, key);
    if (!stored) throw fail("IDEMPOTENCY_IN_FLIGHT"); // released or pruned since then: a retry gets it
    return replay<T>(ctx, key, stored);
  }
  failpoint("idempotency.claimed");
  try {
    return await work(async (db, result, effect) => {
      failpoint("idempotency.finishing");
      if (!(await finishKey(db, key, token, result, effect))) throw fail("IDEMPOTENCY_IN_FLIGHT");
      failpoint("idempotency.stored");
      return result;
    });
  } catch (error) {
    await releaseKey(postgres.db, key, token).catch(() => undefined);
    throw error;
  }
}

function keyOf(ctx: AnyCtx, scope: string): RequestKey | undefined {
  const { idempotency } = ctx.meta;
  if (!idempotency) return undefined;
  return { userId: callerOf(ctx).id, scope, ...idempotency };
}

function replay<T>(ctx: AnyCtx, key: RequestKey, stored: StoredKey): T {
  if (stored.bodyHash !== key.bodyHash) throw fail("IDEMPOTENCY_MISMATCH");
  if (!stored.answer) throw fail("IDEMPOTENCY_IN_FLIGHT");
  ctx.meta.replayed = true;
  return stored.answer.value as T;
}
