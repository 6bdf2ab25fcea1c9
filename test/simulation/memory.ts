import type { Database, Db, Transaction } from "../../lib/sql/database.ts";
import type { Postgres } from "../../mixins/postgres/postgres.mixin.ts";
import type { Machine, World } from "./engine.ts";
import { type Change, type Row, View } from "./view.ts";

const LOCK_TIMEOUT_MS = 1_000;
/** Shares of statements at which the process ends, and at which the connection does, before and after it. */
const KILLED = 0.0012;
const CUT = 0.002;
const SLOW = 0.01;

type Rows = Map<string, Row>;

/**
 * A server of one database, as far as the product's statements can tell it from PostgreSQL at READ COMMITTED: each
 * statement is atomic and sees what is committed besides what its own transaction wrote; a write locks its row, and
 * a statement for a locked row waits and reads it again; a key that another transaction is inserting is waited for; a
 * circle of waiters is broken; a transaction is there as a whole or not at all, and is rolled back when its process
 * or its connection ends.
 */
export class Server {
  readonly world: World;
  readonly name: string;
  /** How far its clock is ahead; it never goes back. */
  aheadMs = 0;
  readonly tables = new Map<string, Rows>();
  readonly locks = new Map<string, Session>();
  readonly #onCommit: (changes: readonly Change[]) => void;

  constructor(world: World, name: string, onCommit: (changes: readonly Change[]) => void) {
    this.world = world;
    this.name = name;
    this.#onCommit = onCommit;
  }

  nowMs(): number {
    return Math.round(this.world.nowMs + this.aheadMs);
  }

  table(name: string): Rows {
    let rows = this.tables.get(name);
    if (!rows) {
      rows = new Map();
      this.tables.set(name, rows);
    }
    return rows;
  }

  /** The committed rows, for checks and for the preparation of a run. */
  all<T extends object>(table: string): T[] {
    return [...this.table(table).values()] as unknown as T[];
  }

  apply(changes: readonly Change[]): void {
    for (const { table, key, after } of changes) {
      if (after) this.table(table).set(key, after);
      else this.table(table).delete(key);
    }
    this.#onCommit(changes);
  }

  /** A pool on a machine, in place of the product's own. */
  connect(machine: Machine): Postgres {
    const db = new Pool(this, machine) as unknown as Database;
    return {
      url: `memory:${this.name}`,
      db,
      transact: (work) => db.transaction(work),
      onUnreadableRow: () => undefined,
      ping: async () => true,
      mixin: {},
    };
  }
}

/** Reports a statement of the product for which the simulation has no stand-in. */
function unknownStatement(sql: string): never {
  throw new RangeError(`the simulation has no stand-in (test/simulation/stores) for: ${sql.slice(0, 80)}`);
}

class Pool {
  readonly server: Server;
  readonly machine: Machine;

  constructor(server: Server, machine: Machine) {
    this.server = server;
    this.machine = machine;
  }

  query = unknownStatement;

  async transaction<T>(work: (trx: Transaction) => Promise<T>): Promise<T> {
    const session = new Session(this.server, this.machine);
    try {
      const result = await work(session as unknown as Transaction);
      await session.commit();
      return result;
    } catch (error) {
      session.rollBack(error);
      throw error;
    }
  }
}

class Blocked {
  readonly by: Session;

  constructor(by: Session) {
    this.by = by;
  }
}

/** One connection and what its transaction has done so far. */
export class Session {
  readonly server: Server;
  readonly machine: Machine;
  readonly committed: Promise<void>;
  /** The moment that `now()` is for the whole transaction. */
  readonly beganMs: number;
  readonly written = new Map<string, Change>();
  readonly #locks = new Set<string>();
  readonly #waiting = new Set<() => void>();
  #waitsFor: Session | undefined;
  #over = false;
  readonly #end = Promise.withResolvers<void>();
  readonly #forget: () => void;

  constructor(server: Server, machine: Machine) {
    this.server = server;
    this.machine = machine;
    this.beganMs = server.nowMs();
    this.committed = this.#end.promise;
    this.committed.catch(() => undefined);
    // The kernel closes the sockets of a process that was killed; a machine that burns down takes longer.
    this.#forget = machine.whenKilled(() =>
      server.world.at(server.world.random.pick([0, 0, 200, 2_000]), () => this.rollBack(new Error("killed"))),
    );
  }

  query = unknownStatement;

  /** @param alone it is its own transaction */
  async statement<T>(body: (view: View) => T, alone = false): Promise<T> {
    await this.#travel();
    const deadline = this.server.world.nowMs + LOCK_TIMEOUT_MS;
    for (;;) {
      if (this.#over) throw lost();
      const view = new View(this);
      try {
        const result = body(view);
        for (const [place, change] of view.written) this.written.set(place, change);
        if (alone) await this.commit(alone);
        else await this.#cutOr();
        return result;
      } catch (error) {
        if (!(error instanceof Blocked)) {
          if (alone) this.rollBack(error);
          throw error;
        }
        await this.#wait(error.by, deadline);
      }
    }
  }

  async commit(here = false): Promise<void> {
    if (this.written.size > 0 && !here) await this.#travel();
    if (this.#over) throw lost();
    const changes = [...this.written.values()];
    this.#close();
    this.server.apply(changes);
    this.#end.resolve();
    // Committed, but the caller may never get the answer.
    if (changes.length > 0) await this.#cutOr();
  }

  rollBack(reason: unknown): void {
    if (this.#over) return;
    this.#close();
    this.#end.reject(reason);
  }

  /** @throws Blocked while another transaction has it */
  lock(place: string): void {
    if (!this.tryLock(place)) throw new Blocked(this.server.locks.get(place) as Session);
  }

  tryLock(place: string): boolean {
    const holder = this.server.locks.get(place);
    if (holder === this) return true;
    if (holder) return false;
    this.server.locks.set(place, this);
    this.#locks.add(place);
    return true;
  }

  async #travel(): Promise<void> {
    const { world } = this.server;
    await this.machine.mayEnd(KILLED);
    const slow = world.trouble(SLOW);
    await world.pause(slow ? world.random.between(50, 1_200) : world.random.next() * 2, this.machine);
    if (world.trouble(CUT / 2)) {
      this.rollBack(lost());
      throw lost();
    }
  }

  async #cutOr(): Promise<void> {
    await this.machine.mayEnd(KILLED);
    if (!this.server.world.trouble(CUT / 2)) return;
    this.rollBack(lost());
    throw lost();
  }

  async #wait(holder: Session, deadline: number): Promise<void> {
    for (let next: Session | undefined = holder; next; next = next.#waitsFor) {
      if (next !== this) continue;
      this.rollBack(new Error("deadlock"));
      throw Object.assign(new Error("deadlock detected"), { code: "40P01" });
    }
    this.#waitsFor = holder;
    const { world } = this.server;
    const { promise, resolve } = Promise.withResolvers<void>();
    const go = () => void world.at(0, resolve, this.machine);
    const timeout = world.at(Math.max(0, deadline - world.nowMs), resolve, this.machine);
    holder.#waiting.add(go);
    await promise;
    timeout.cancelled = true;
    holder.#waiting.delete(go);
    this.#waitsFor = undefined;
    if (world.nowMs < deadline) return;
    this.rollBack(new Error("lock timeout"));
    throw Object.assign(new Error("canceling statement due to lock timeout"), { code: "55P03" });
  }

  #close(): void {
    this.#over = true;
    this.#forget();
    for (const place of this.#locks) this.server.locks.delete(place);
    for (const go of this.#waiting) go();
  }
}

function lost(): Error {
  return Object.assign(new Error("the connection was lost"), { code: "ECONNRESET" });
}

/** One statement: in the caller's transaction, or in one of its own. */
export function statement<T>(db: Db, body: (view: View) => T): Promise<T> {
  const given = db as unknown as Session | Pool;
  if (given instanceof Session) return given.statement(body);
  return new Session(given.server, given.machine).statement(body, true);
}
