import pg from "pg";
import { type Bindings, bind } from "../../lib/sql/bindings.ts";
import type { Database, Db } from "../../lib/sql/database.ts";

interface PlanNode {
  "Node Type": string;
  "Relation Name"?: string;
  "Shared Hit Blocks": number;
  "Shared Read Blocks": number;
  "Actual Rows": number;
  "Actual Loops": number;
  "Rows Removed by Filter"?: number;
  "Rows Removed by Index Recheck"?: number;
  Plans?: PlanNode[];
}

export interface Explained {
  /** Pages that the statement looked at, in memory or on disk: what it costs, whatever the machine. */
  pages: number;
  /** Rows that it read from tables and indexes, those that it did not want among them. */
  rows: number;
  /** Tables that it read from begin to end. */
  scanned: string[];
  text: string;
}

/**
 * Runs the statements of a repository as they are and once more with EXPLAIN ANALYZE in front, in a transaction
 * that is rolled back, and answers what they cost together. A statement that connections prepare may be planned for its
 * values or for any values: the dearer of the two counts.
 */
export async function explain(database: Database, work: (db: Db) => Promise<unknown>): Promise<Explained> {
  const plans: PlanNode[] = [];
  const trx = await database.begin();
  await trx.query("SET LOCAL plan_cache_mode = force_generic_plan");
  await trx.query("SET LOCAL statement_timeout = 0"); // what it costs is counted, not how long it takes
  const planOf = async (sql: string, bindings: Bindings): Promise<PlanNode> => {
    await trx.query("SAVEPOINT before");
    const result = await trx.query(`EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ${sql}`, bindings);
    await trx.query("ROLLBACK TO before");
    return result.rows[0]["QUERY PLAN"][0].Plan;
  };
  const planForAnyValues = async (sql: string, bindings: Bindings): Promise<PlanNode> => {
    const native = bind(sql, bindings);
    await trx.query(escaped(`PREPARE planned AS ${native.text}`));
    const values = native.values.map(literal).join(", ");
    const plan = await planOf(escaped(`EXECUTE planned${values && `(${values})`}`), []);
    await trx.query("DEALLOCATE planned");
    return plan;
  };
  const run = async (sql: string, bindings: Bindings, prepared: boolean) => {
    const ofValues = await planOf(sql, bindings);
    const ofAny = prepared ? await planForAnyValues(sql, bindings) : ofValues;
    plans.push(pagesOf(ofAny) > pagesOf(ofValues) ? ofAny : ofValues);
    return await trx.query(sql, bindings);
  };
  const explaining: object = {
    query: (sql: string, bindings: Bindings = [], prepared = false) => run(sql, bindings, prepared),
    transaction: (work: (db: unknown) => Promise<unknown>): Promise<unknown> => work(explaining),
  };
  try {
    await work(explaining as unknown as Db);
  } finally {
    await trx.rollback();
  }
  const scans = plans.flatMap(flat).filter((node) => node["Node Type"] === "Seq Scan");
  return {
    pages: plans.reduce((sum, plan) => sum + pagesOf(plan), 0),
    rows: plans.flatMap(flat).reduce((sum, node) => sum + rowsOf(node), 0),
    scanned: scans.flatMap((node) => node["Relation Name"] ?? []),
    text: JSON.stringify(plans, null, 1),
  };
}

const pagesOf = (plan: PlanNode) => plan["Shared Hit Blocks"] + plan["Shared Read Blocks"];

function rowsOf(node: PlanNode): number {
  if (!/Scan$/.test(node["Node Type"]) || /^(?:CTE|Function|Subquery|Values)/.test(node["Node Type"]))
    return 0;
  const unwanted = (node["Rows Removed by Filter"] ?? 0) + (node["Rows Removed by Index Recheck"] ?? 0);
  return (node["Actual Rows"] + unwanted) * node["Actual Loops"];
}

/** The value as a literal whose type PostgreSQL takes from its place. */
function literal(value: unknown): string {
  if (value === null) return "NULL";
  if (Array.isArray(value))
    return pg.escapeLiteral(
      `{${value.map((one) => (one === null ? "NULL" : JSON.stringify(String(one)))).join()}}`,
    );
  return pg.escapeLiteral(typeof value === "object" ? JSON.stringify(value) : String(value));
}

/** A text without bindings, in which a question mark is an operator. */
const escaped = (sql: string) => sql.replaceAll("?", "\\?");

function flat(node: PlanNode): PlanNode[] {
  return [node, ...(node.Plans ?? []).flatMap(flat)];
}
