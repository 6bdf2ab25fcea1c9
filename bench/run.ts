/** `npm run bench`: measures the platform of this checkout and prints the table. See bench/README.md. */
import { readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { newDataDir, removeDataDir, startPlatform } from "./lib/platform.ts";
import { keep, type Row, tableOf } from "./lib/report.ts";
import { makeWorld } from "./lib/world.ts";
import { bridgeCalls } from "./rows/bridge.ts";
import { orderLife } from "./rows/order-life.ts";
import { productList } from "./rows/product-list.ts";
import { readsBesideLives } from "./rows/reads-beside-lives.ts";
import { coldStart } from "./rows/start.ts";

const CUSTOMERS = 16;

const say = (line: string) => process.stderr.write(`${line}\n`);

async function load(): Promise<Row[]> {
  const dataDir = newDataDir();
  try {
    const platform = await startPlatform(dataDir);
    try {
      say("Making a partner, products, a bank and customers");
      const world = await makeWorld(platform, CUSTOMERS);
      say("Product list against node:http");
      const list = await productList(platform, world);
      say("Order life against pgbench");
      const life = await orderLife(platform, world, benchDatabase(dataDir));
      say("Reads of documents beside order lives");
      const reads = await readsBesideLives(platform, world);
      world.close();
      return [...list, ...life, ...reads];
    } finally {
      await platform.stop();
    }
  } finally {
    removeDataDir(dataDir);
  }
}

/** The embedded server's own `postgres` database: beside ours, on the same disk. */
function benchDatabase(dataDir: string): string {
  const port = readFileSync(join(dataDir, "postgres/postmaster.pid"), "utf8").split("\n")[3];
  const password = readFileSync(join(dataDir, "postgres.password"), "utf8").trim();
  return `postgresql://waybill:${encodeURIComponent(password)}@127.0.0.1:${port}/postgres`;
}

say("Cold starts");
const rows = [...(await coldStart()), ...(await load())];
say("Bridge against grpc-js");
rows.push(...(await bridgeCalls()));
console.log(tableOf(rows));
say(`\nkept in ${relative(process.cwd(), keep(rows))}`);
