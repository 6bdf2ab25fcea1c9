import type { Knex } from "knex";
import type { Db } from "../../mixins/postgres/database.ts";

interface PlanNode {
  "Node Type": string;
  "Relation Name"?: string;
  "Shared Hit Blocks": number;
  "Shared Read Blocks": number;
  Plans?: PlanNode[];
}

export interface Explained {
  /** Pages that the statement looked at, in memory or on disk: what it costs, whatever the machine. */
  pages: number;
  /** Tables that it read from begin to end. */
  scanned: string[];
  text: string;
}

/**
 * Runs the statements of a repository as they are and once more with EXPLAIN ANALYZE in front, in a transaction
 * that is rolled back, and answers what they cost together.
 */
export async function explain(knex: Knex, work: (db: Db) => Promise<unknown>): Promise<Explained> {
  const plans: PlanNode[] = [];
  const trx = await knex.transaction();
  const explaining = {
    async raw(sql: string, bindings: Knex.RawBinding[]) {
      await trx.raw("SAVEPOINT before");
      const result = await trx.raw(`EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ${sql}`, bindings);
      plans.push(result.rows[0]["QUERY PLAN"][0].Plan);
      await trx.raw("ROLLBACK TO before");
      return await trx.raw(sql, bindings);
    },
  };
  try {
    await work(explaining as unknown as Db);
  } finally {
    await trx.rollback();
  }
  const scans = plans.flatMap(flat).filter((node) => node["Node Type"] === "Seq Scan");
  return {
    pages: plans.reduce((sum, plan) => sum + plan["Shared Hit Blocks"] + plan["Shared Read Blocks"], 0),
    scanned: scans.flatMap((node) => node["Relation Name"] ?? []),
    text: JSON.stringify(plans, null, 1),
  };
}

function flat(node: PlanNode): PlanNode[] {
  return [node, ...(node.Plans ?? []).flatMap(flat)];
}
