import type { Knex } from "knex";
import type { Db } from "../../lib/sql/database.ts";

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
export async function explain(knex: Knex, work: (db: Db) => Promise<unknown>): Promise<Explained> {
  const plans: PlanNode[] = [];
  const trx = await knex.transaction();
  await trx.raw("SET LOCAL plan_cache_mode = force_generic_plan");
  await trx.raw("SET LOCAL statement_timeout = 0"); // what it costs is counted, not how long it takes
  const planOf = async (sql: string, bindings: Knex.RawBinding[]): Promise<PlanNode> => {
    await trx.raw("SAVEPOINT before");
    const result = await trx.raw(`EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ${sql}`, bindings);
    await trx.raw("ROLLBACK TO before");
    return result.rows[0]["QUERY PLAN"][0].Plan;
  };
  const planForAnyValues = async (sql: string, bindings: Knex.RawBinding[]): Promise<PlanNode> => {
    const native = trx.raw(sql, bindings).toSQL().toNative();
    await trx.raw(escaped(`PREPARE planned AS ${native.sql}`));
    const parameters = native.bindings as Knex.RawBinding[];
    const values = trx.raw(parameters.map(() => "?").join(", "), parameters).toQuery();
    const plan = await planOf(escaped(`EXECUTE planned${values && `(${values})`}`), []);
    await trx.raw("DEALLOCATE planned");
    return plan;
  };
  const run = async (sql: string, bindings: Knex.RawBinding[], prepared: boolean) => {
    const ofValues = await planOf(sql, bindings);
    const ofAny = prepared ? await planForAnyValues(sql, bindings) : ofValues;
    plans.push(pagesOf(ofAny) > pagesOf(ofValues) ? ofAny : ofValues);
    return await trx.raw(sql, bindings);
  };
  const explaining: object = {
    raw: (sql: string, bindings: Knex.RawBinding[]) => ({
      options: ({ name }: { name?: string }) => run(sql, bindings, name !== undefined),
    }),
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

/** For knex, to which a question mark is a binding. */
const escaped = (sql: string) => sql.replaceAll("?", "\\?");

function flat(node: PlanNode): PlanNode[] {
  return [node, ...(node.Plans ?? []).flatMap(flat)];
}
