import type { Knex } from "knex";
import { fail } from "../../contracts/errors.ts";
import type { Ctx } from "../../contracts/meta.ts";
import { failpoint } from "../../lib/failpoint.ts";
import { newId } from "../../lib/ids.ts";
import { callerOf } from "../caller/caller.ts";
import {
  claimKey,
  findKey,
  finishKey,
  type KeyOf,
  releaseKey,
  type StoredKey,
  storeAnswer,
  tryLock,
} from "./idempotency.repository.ts";
import type { Postgres } from "./postgres.mixin.ts";

const LEASE_MS = 15_000;

type AnyCtx = Ctx<unknown>;

/**
 * Runs `work` once for each Idempotency-Key of a caller: the key, the hash of the body and the answer are
 * committed with the effect, in one transaction. A repeat is answered from what was stored. Without a key it
 * is an ordinary transaction.
 * @param scope what the key is unique within, besides its caller: the name of the action
 * @throws IDEMPOTENCY_IN_FLIGHT while an equal request runs, IDEMPOTENCY_MISMATCH for another body,
 *   UNAUTHENTICATED when nobody is signed in
 */
export async function idempotent<T>(
  postgres: Postgres,
  ctx: AnyCtx,
  scope: string,
  work: (trx: Knex.Transaction) => Promise<T>,
): Promise<T> {
  const of = keyOf(ctx, scope);
  if (!of) return postgres.transact(work);
  const answer = await postgres.transact(async (trx) => {
    if (!(await tryLock(trx, of))) throw fail("IDEMPOTENCY_IN_FLIGHT");
    const stored = await findKey(trx, of);
    if (stored) return replay<T>(ctx, of, stored);
    const fresh = await work(trx);
    await storeAnswer(trx, of, fresh);
    failpoint("idempotency.stored");
    return fresh;
  });
  return answer;
}

/** Stores the answer in the last transaction of leased work, and returns it. @throws when the lease was lost */
export type Finish<T> = (trx: Knex.Transaction, answer: T) => Promise<T>;

/**
 * The same for work that calls the outside between two transactions: the key is claimed first, under a lease
 * of 15 seconds, and `finish` stores the answer in the work's last transaction. When the process dies in
 * between, the key is free after the lease, and the work must bear to be begun again: its own unique keys and
 * the outside's idempotency keys see to that.
 * @throws IDEMPOTENCY_IN_FLIGHT, IDEMPOTENCY_MISMATCH, UNAUTHENTICATED as `idempotent`
 */
export async function idempotentLeased<T>(
  postgres: Postgres,
  ctx: AnyCtx,
  scope: string,
  work: (finish: Finish<T>) => Promise<T>,
): Promise<T> {
  const of = keyOf(ctx, scope);
  if (!of) return work(async (_trx, answer) => answer);
  const token = newId();
  if (!(await claimKey(postgres.db, of, token, LEASE_MS))) {
    const stored = await findKey(postgres.db, of);
    if (!stored) throw fail("IDEMPOTENCY_IN_FLIGHT"); // freed this very moment: the repeat will get it
    return replay<T>(ctx, of, stored);
  }
  failpoint("idempotency.claimed");
  let answer: T;
  try {
    answer = await work(async (trx, result) => {
      if (!(await finishKey(trx, of, token, result))) throw fail("IDEMPOTENCY_IN_FLIGHT");
      failpoint("idempotency.stored");
      return result;
    });
  } catch (error) {
    await releaseKey(postgres.db, of, token).catch(() => undefined);
    throw error;
  }
  return answer;
}

function keyOf(ctx: AnyCtx, scope: string): KeyOf | undefined {
  const { idempotency } = ctx.meta;
  if (!idempotency) return undefined;
  return { userId: callerOf(ctx).id, scope, ...idempotency };
}

function replay<T>(ctx: AnyCtx, of: KeyOf, stored: StoredKey): T {
  if (stored.bodyHash !== of.bodyHash) throw fail("IDEMPOTENCY_MISMATCH");
  if (!stored.answer) throw fail("IDEMPOTENCY_IN_FLIGHT");
  ctx.meta.replayed = true;
  return stored.answer.value as T;
}
