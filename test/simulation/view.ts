import type { World } from "./engine.ts";
import type { Session } from "./memory.ts";

export interface Row {
  readonly [column: string]: unknown;
}

/** A change of a transaction: table, key, the row before and after. */
export interface Change {
  table: string;
  key: string;
  before: Row | undefined;
  after: Row | undefined;
}

/** The reads and writes of one statement. Its writes belong to the transaction when the statement ends. */
export class View {
  readonly session: Session;
  readonly written = new Map<string, Change>();

  constructor(session: Session) {
    this.session = session;
  }

  get world(): World {
    return this.session.server.world;
  }

  /** `now()`: the beginning of the transaction, in milliseconds. */
  get nowMs(): number {
    return this.session.beganMs;
  }

  /** `clock_timestamp()`. */
  get clockMs(): number {
    return this.session.server.nowMs();
  }

  get<T extends object>(table: string, key: string): T | undefined {
    const place = `${table}/${key}`;
    const own = this.written.get(place) ?? this.session.written.get(place);
    return (own ? own.after : this.session.server.table(table).get(key)) as T | undefined;
  }

  all<T extends object>(table: string): [key: string, row: T][] {
    const found = new Map<string, Row>(this.session.server.table(table));
    for (const changes of [this.session.written, this.written]) {
      for (const { table: of, key, after } of changes.values()) {
        if (of !== table) continue;
        if (after) found.set(key, after);
        else found.delete(key);
      }
    }
    return [...found] as [string, T][];
  }

  /** FOR UPDATE: the row after all concurrent changes of it have ended. */
  locked<T extends object>(table: string, key: string): T | undefined {
    if (this.get(table, key) === undefined) return undefined;
    this.session.lock(`${table}/${key}`);
    return this.get<T>(table, key);
  }

  /** FOR UPDATE SKIP LOCKED. */
  lockedNow<T extends object>(table: string, key: string): T | undefined {
    return this.session.tryLock(`${table}/${key}`) ? this.get<T>(table, key) : undefined;
  }

  /** @returns false when the key is there; one that is just being inserted is waited for */
  insert(table: string, key: string, row: object): boolean {
    if (this.get(table, key) !== undefined) return false;
    this.session.lock(`${table}/${key}`);
    if (this.get(table, key) !== undefined) return false;
    this.#write(table, key, row as Row);
    return true;
  }

  update(table: string, key: string, row: object): void {
    this.session.lock(`${table}/${key}`);
    this.#write(table, key, row as Row);
  }

  delete(table: string, key: string): void {
    this.session.lock(`${table}/${key}`);
    this.#write(table, key, undefined);
  }

  #write(table: string, key: string, after: Row | undefined): void {
    const place = `${table}/${key}`;
    const before = this.session.server.table(table).get(key);
    this.written.set(place, { table, key, before, after });
  }
}
