import { Agent } from "node:http";
import type { BenchDatabase } from "../lib/database.ts";
import { drive, send } from "../lib/load.ts";
import type { Row } from "../lib/report.ts";
import { onStage, type Stage } from "../lib/stage.ts";
import { oneLife } from "./order-life.ts";

const CLIENTS = 16;
const SIZES = { partners: 50, products: 4, customers: CLIENTS };
const WARM_UP_LIVES = 400;
const LIVES = 400;
const READ_MS = 5_000;
const ORDERS_FEW = 1_000;
const ORDERS_MANY = Number(process.env.BENCH_OPEN_ORDERS ?? 1_000_000);
const PRODUCTS_FEW = 1_000;
const PRODUCTS_MANY = 100_000;
const FILL_BATCH = 50_000;
/** Their deadlines and polls are later than the benchmark. */
const LATER = "now() + interval '1 day'";

/** Order lives beside many open orders, and pages of the product list beside many products, against few of each. */
export const growth = (): Promise<Row[]> => onStage(SIZES, measure);

async function measure({ platform, world, database }: Stage): Promise<Row[]> {
  const lives = async (units: number) => {
    const life = (client: number, agent: Agent) => oneLife(platform, world, client, agent);
    const measured = await drive(CLIENTS, { units }, life);
    await database.drained();
    return measured;
  };
  const pages = async () => {
    const headers = { authorization: `Bearer ${world.customerTokens[0]}` };
    const first = await send(new Agent(), `${platform.apiUrl}/products`, { headers });
    const { next_cursor: cursor } = JSON.parse(first.body.toString()) as { next_cursor: string };
    // Not the first page, which the gateway keeps.
    const url = `${platform.apiUrl}/products?cursor=${encodeURIComponent(cursor)}`;
    return drive(CLIENTS, { ms: READ_MS }, async (_client, agent) => {
      const answer = await send(agent, url, { headers });
      if (answer.status !== 200) throw new Error(`${url}: ${answer.status}`);
    });
  };
  await lives(WARM_UP_LIVES);
  await fillProducts(database, 0, PRODUCTS_FEW);
  await fillOrders(database, 0, ORDERS_FEW);
  const [fewOrders, fewProducts] = [await lives(LIVES), await pages()];
  await fillProducts(database, PRODUCTS_FEW, PRODUCTS_MANY);
  await fillOrders(database, ORDERS_FEW, ORDERS_MANY);
  const [manyOrders, manyProducts] = [await lives(LIVES), await pages()];
  const row = (what: string, many: number, few: number) => ({
    what,
    measured: many,
    baseline: few,
    ratio: many / few,
  });
  return [
    row(
      `lives/s beside ${ORDERS_MANY.toLocaleString("en")} open orders`,
      manyOrders.perSecond,
      fewOrders.perSecond,
    ),
    { what: "the same, lives that failed", measured: manyOrders.errors, baseline: fewOrders.errors },
    row("pages/s of 100,000 products", manyProducts.perSecond, fewProducts.perSecond),
    { what: "the same, reads that failed", measured: manyProducts.errors, baseline: fewProducts.errors },
  ];
}

/** Copies one open order, without its lines, for other customers. */
async function fillOrders(database: BenchDatabase, from: number, to: number): Promise<void> {
  await fill(database, "orders", from, to, [
    {
      table: "orders",
      where: "closed_at IS NULL",
      columns: {
        id: "gen_random_uuid()",
        customer_id: "gen_random_uuid()",
        deadline_at: LATER,
        reconcile_at: LATER,
      },
    },
  ]);
}

/** Copies one product with its offer. */
async function fillProducts(database: BenchDatabase, from: number, to: number): Promise<void> {
  const id = "md5('product ' || n)::uuid";
  await fill(database, "partners", from, to, [
    { table: "products", where: "true", columns: { id } },
    {
      table: "availability",
      where: "true",
      columns: { product_id: id, version: "nextval('availability_versions')" },
    },
  ]);
}

interface Copy {
  table: string;
  /** Condition of the row that is copied. */
  where: string;
  /** SQL of the columns that differ between the copies, with their number `n`. */
  columns: Record<string, string>;
}

async function fill(
  database: BenchDatabase,
  name: string,
  from: number,
  to: number,
  copies: Copy[],
): Promise<void> {
  for (let n = from; n < to; n += FILL_BATCH) {
    const last = Math.min(n + FILL_BATCH, to) - 1;
    for (const { table, where, columns } of copies) {
      const found = await database.query(
        name,
        `SELECT quote_ident(attname) AS column FROM pg_attribute
         WHERE attrelid = '${table}'::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''`,
      );
      const all = found.map(({ column }) => String(column));
      await database.query(
        name,
        `INSERT INTO ${table} (${all.join(", ")})
         SELECT ${all.map((column) => columns[column] ?? `one.${column}`).join(", ")}
         FROM (SELECT * FROM ${table} WHERE ${where} LIMIT 1) AS one, generate_series(${n}, ${last}) AS n`,
      );
    }
  }
  for (const { table } of copies) await database.query(name, `VACUUM (ANALYZE) ${table}`);
}
