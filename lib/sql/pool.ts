import { setImmediate } from "node:timers/promises";
import pg from "pg";
import { TimeoutError, withTimeout } from "../timeout.ts";
import { type Bindings, bind } from "./bindings.ts";

const REQUEST_TIMEOUT_MS = 1_800;
/** How much earlier than its request a statement ends. */
const STATEMENT_MARGIN_MS = 300;
/**
 * How much earlier than its request a wait for a lock ends. The wait still exceeds PostgreSQL's `deadlock_timeout` (1 s by
 * default), so that the server finds a deadlock first: it then fails one of the two transactions, with a code of its own.
 * At the same value both would fail as if a lock were merely held too long.
 */
const LOCK_MARGIN_MS = 550;
/**
 * How much earlier than its request the wait for an answer ends, independent of the server: the network may lose a statement
 * or its answer. Later than the server's own limit, whose answer says more.
 */
const ANSWER_MARGIN_MS = 100;
const IDLE_IN_TRANSACTION_TIMEOUT_MS = 5_000;
/** A new connection may take longer than a statement waits for one: the statements after it then find it ready. */
const CONNECT_TIMEOUT_MS = 10_000;
const IDLE_CONNECTION_TIMEOUT_MS = 30_000;

/** Runs statements: each on a free connection of a pool, or all on the connection of a transaction. */
export interface Db {
  /**
   * @param sql with `?` for each value or `:name` for each named one; without values it may hold several statements
   * @param prepared each connection parses the statement once and may keep its plan
   */
  query(sql: string, bindings?: Bindings, prepared?: boolean): Promise<pg.QueryResult>;
  /** Runs `work` in a transaction, in one nested by a savepoint where this is a transaction already. */
  transaction<T>(work: (trx: Transaction) => Promise<T>, options?: TransactionOptions): Promise<T>;
  /** Called for each row that cannot be read. */
  reportUnreadable?: ((row: UnreadableRow) => void) | undefined;
}

export interface TransactionOptions {
  /** How long its statements wait for a lock. Default: 1.25 s. A nested transaction cannot change it. */
  lockTimeoutMs?: number;
}

/** A row that holds a number beyond 2^53 - 1. */
export interface UnreadableRow {
  /** Its id or that of its order or product; `unknown` when the statement selects none. */
  id: string;
  columns: string[];
}

export interface DatabaseOptions {
  url: string;
  poolSize: number;
  /** How long a statement waits for a free connection, including the time to open one. */
  acquireTimeoutMs: number;
  /** Time limit of the requests that the statements are for. Default: 1,800. The limits of statements are shorter. */
  requestTimeoutMs?: number;
  /** The name of the connections in PostgreSQL's own views. */
  applicationName: string;
  /** False: a commit does not wait for the disk. For data that can be rebuilt. */
  synchronousCommit?: false;
}

/** PostgreSQL's code `too_many_connections`. NoConnectionError has it too, so that callers treat both alike. */
const TOO_MANY_CONNECTIONS = "53300";

/** No connection of a pool was free in time. */
export class NoConnectionError extends Error {
  readonly code = TOO_MANY_CONNECTIONS;

  constructor({ applicationName, poolSize, acquireTimeoutMs }: DatabaseOptions) {
    super(
      `none of the ${poolSize} connections of "${applicationName}" was free within ${acquireTimeoutMs} ms`,
    );
  }
}

/** PostgreSQL's code `connection_failure`, so that callers treat both alike. */
const CONNECTION_FAILURE = "08006";

/** The server gave no answer in time. Whether the statement was executed is unknown, and its connection is unusable. */
class NoAnswerError extends Error {
  readonly code = CONNECTION_FAILURE;

  constructor({ applicationName }: DatabaseOptions, timeoutMs: number) {
    super(`the database of "${applicationName}" gave no answer within ${timeoutMs} ms`);
  }
}

class Client extends pg.Client {
  constructor(config: pg.ClientConfig) {
    super({ ...config, connectionTimeoutMillis: CONNECT_TIMEOUT_MS });
    // The statement that runs, or the next one, fails with the error; without a listener it would end the process.
    this.on("error", () => undefined);
  }
}

/** A pool of connections to one database. */
export class Database implements Db {
  readonly #options: DatabaseOptions;
  readonly #requestTimeoutMs: number;
  readonly #pool: pg.Pool;
  #closed = false;
  reportUnreadable: ((row: UnreadableRow) => void) | undefined;

  /** It connects at the first statement. */
  constructor(options: DatabaseOptions) {
    this.#options = options;
    const { requestTimeoutMs = REQUEST_TIMEOUT_MS } = options;
    this.#requestTimeoutMs = requestTimeoutMs;
    this.#pool = new pg.Pool({
      connectionString: options.url,
      application_name: options.applicationName,
      statement_timeout: requestTimeoutMs - STATEMENT_MARGIN_MS,
      lock_timeout: requestTimeoutMs - LOCK_MARGIN_MS,
      idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_TIMEOUT_MS,
      ...(options.synchronousCommit === false && { options: "-c synchronous_commit=off" }),
      max: options.poolSize,
      idleTimeoutMillis: IDLE_CONNECTION_TIMEOUT_MS,
      Client: Client as unknown as new () => pg.ClientBase,
    });
    this.#pool.on("error", () => undefined); // an idle connection ended: the pool opens another one
  }

  async query(sql: string, bindings: Bindings = [], prepared = false): Promise<pg.QueryResult> {
    const statement = statementOf(sql, bindings, prepared);
    const client = await this.acquire();
    let lost = false;
    try {
      return await this.send(client, statement);
    } catch (error) {
      lost = isLost(error);
      throw error;
    } finally {
      client.release(lost);
    }
  }

  /**
   * Sends a statement over a connection of this pool.
   * @throws NoAnswerError when no answer comes in time: the connection must not be used again
   */
  async send(client: pg.PoolClient, statement: string | pg.QueryConfig): Promise<pg.QueryResult> {
    const timeoutMs = this.#requestTimeoutMs - ANSWER_MARGIN_MS;
    try {
      // The driver's own `query_timeout` would also discard an answer that came while the event loop was blocked.
      return await withTimeout(timeoutMs, () => client.query(statement as pg.QueryConfig));
    } catch (error) {
      throw error instanceof TimeoutError ? new NoAnswerError(this.#options, timeoutMs) : error;
    }
  }

  async transaction<T>(work: (trx: Transaction) => Promise<T>, options?: TransactionOptions): Promise<T> {
    return await finish(await this.begin(options), work);
  }

  /** Begins a transaction that the caller ends by `commit` or `rollback`. */
  async begin(options?: TransactionOptions): Promise<Transaction> {
    return new Transaction(await this.acquire(), this, options);
  }

  /** Takes a connection out of the pool; the caller releases it. @throws NoConnectionError when none is free in time */
  async acquire(): Promise<pg.PoolClient> {
    if (this.#closed) throw new Error(`the database of "${this.#options.applicationName}" is closed`);
    const hasIdle = this.#pool.idleCount > this.#pool.waitingCount;
    const connecting = this.#pool.connect();
    if (hasIdle) return await connecting;
    try {
      return await withTimeout(this.#options.acquireTimeoutMs, () => connecting);
    } catch (error) {
      if (!(error instanceof TimeoutError)) throw error;
      // Its turn comes all the same: the connection goes to the next one that waits.
      connecting.then(
        (late) => late.release(),
        () => undefined,
      );
      throw new NoConnectionError(this.#options);
    }
  }

  /** Closes the connections after their running statements. */
  async close(): Promise<void> {
    this.#closed = true;
    await setImmediate(); // the pool hands out an idle connection in a later tick
    await this.#pool.end();
  }
}

const NOT_AWAITED =
  "a statement of the transaction still runs: await each one before the next and before the end";

/** A transaction on a connection of its own. */
export class Transaction implements Db {
  readonly #client: pg.PoolClient;
  readonly #database: Database;
  readonly #began: Promise<unknown>;
  #lost = false;
  readonly #end = Promise.withResolvers<void>();
  #savepoints = 0;
  #busy = false;
  #ended = false;

  constructor(client: pg.PoolClient, database: Database, { lockTimeoutMs }: TransactionOptions = {}) {
    this.#client = client;
    this.#database = database;
    this.#end.promise.catch(() => undefined);
    this.#began = this.#send(
      lockTimeoutMs === undefined ? "BEGIN" : `BEGIN; SET LOCAL lock_timeout = ${lockTimeoutMs}`,
    );
    this.#began.catch(() => undefined);
  }

  /** Resolves after the commit, rejects after the rollback. */
  get committed(): Promise<void> {
    return this.#end.promise;
  }

  get reportUnreadable(): ((row: UnreadableRow) => void) | undefined {
    return this.#database.reportUnreadable;
  }

  /** @throws Error while another statement of the transaction runs: each has to be awaited, since it may fail */
  async query(sql: string, bindings: Bindings = [], prepared = false): Promise<pg.QueryResult> {
    this.#requireOpen();
    if (this.#busy) throw new Error(NOT_AWAITED);
    const statement = statementOf(sql, bindings, prepared);
    this.#busy = true;
    try {
      // Not sent beside BEGIN: if that is cancelled, the statement would be a transaction of its own.
      await this.#began;
      this.#requireOpen();
      return await this.#send(statement);
    } finally {
      this.#busy = false;
    }
  }

  #requireOpen(): void {
    if (this.#ended) throw new Error("the transaction has ended");
  }

  async #send(statement: string | pg.QueryConfig): Promise<pg.QueryResult> {
    try {
      return await this.#database.send(this.#client, statement);
    } catch (error) {
      this.#lost ||= isLost(error);
      throw error;
    }
  }

  async transaction<T>(work: (trx: Transaction) => Promise<T>): Promise<T> {
    this.#savepoints += 1;
    const savepoint = `s${this.#savepoints}`;
    await this.query(`SAVEPOINT ${savepoint}`);
    try {
      const result = await work(this);
      await this.query(`RELEASE SAVEPOINT ${savepoint}`);
      return result;
    } catch (error) {
      // Also while a statement runs for which the work did not wait, e.g. because of a time limit.
      await this.#send(`ROLLBACK TO SAVEPOINT ${savepoint}`);
      throw error;
    }
  }

  /** @throws Error when it was rolled back instead, because a statement had failed or still runs */
  async commit(): Promise<void> {
    this.#requireOpen();
    // A statement beside COMMIT would be a transaction of its own.
    this.#ended = true;
    try {
      if (this.#busy) throw new Error(NOT_AWAITED);
      await this.#began;
      const { command } = await this.#send("COMMIT");
      if (command !== "COMMIT")
        throw new Error("the transaction was rolled back, because a statement failed");
    } catch (error) {
      await this.#undo(error);
      throw error;
    }
    this.#client.release();
    this.#end.resolve();
  }

  /** Returns the connection to the pool, or closes it when its transaction may still be open. Never rejects. */
  async rollback(reason: unknown = new Error("rolled back")): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    await this.#undo(reason);
  }

  async #undo(reason: unknown): Promise<void> {
    // A lost connection would answer the rollback no more than the statement before it.
    const isClean =
      !this.#lost &&
      (await this.#send("ROLLBACK").then(
        () => true,
        () => false,
      ));
    this.#client.release(!isClean);
    this.#end.reject(reason);
  }
}

async function finish<T>(trx: Transaction, work: (trx: Transaction) => Promise<T>): Promise<T> {
  let result: T;
  try {
    result = await work(trx);
  } catch (error) {
    await trx.rollback(error);
    throw error;
  }
  await trx.commit();
  return result;
}

/** Whether a connection is unusable after an error: the server reports all others with the severity ERROR. */
const isLost = (error: unknown) => (error as { severity?: string }).severity !== "ERROR";

function statementOf(sql: string, bindings: Bindings, prepared: boolean): pg.QueryConfig {
  const { text, values, preparedAs } = bind(sql, bindings);
  const statement: pg.QueryConfig = { text, values: values as unknown[] };
  if (prepared && preparedAs !== undefined) statement.name = preparedAs;
  return statement;
}
