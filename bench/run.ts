/** `npm run bench [-- --row life --row start]`: measures the platform of this checkout. See bench/README.md. */
import { relative } from "node:path";
import { parseArgs } from "node:util";
import { keep, type Row, tableOf } from "./lib/report.ts";
import { bridgeCalls } from "./rows/bridge.ts";
import { clusterOfTwo } from "./rows/cluster.ts";
import { consumerAgainstGraphile } from "./rows/consumer.ts";
import { deliveryOverJetStream } from "./rows/delivery.ts";
import { growth } from "./rows/growth.ts";
import { memoryUnderLoad } from "./rows/memory.ts";
import { orderLife } from "./rows/order-life.ts";
import { outboxDrain } from "./rows/outbox.ts";
import { overload } from "./rows/overload.ts";
import { ownReads } from "./rows/own-reads.ts";
import { productList } from "./rows/product-list.ts";
import { readsBesideLives } from "./rows/reads-beside-lives.ts";
import { coldStart } from "./rows/start.ts";

interface BenchRow {
  title: string;
  measure: () => Promise<Row[]>;
  /** Takes minutes: measured only when it is named. */
  long?: true;
}

const ROWS: Record<string, BenchRow> = {
  start: { title: "Cold starts", measure: coldStart },
  products: { title: "Product list against node:http", measure: productList },
  own: { title: "Reads of own data against node:http", measure: ownReads },
  life: { title: "Order life against pgbench", measure: orderLife },
  reads: { title: "Reads of documents beside order lives", measure: readsBesideLives },
  outbox: { title: "Outbox drain against the messages of order lives", measure: outboxDrain },
  consumer: { title: "Consumer against graphile-worker", measure: consumerAgainstGraphile },
  delivery: { title: "Messages over JetStream at light load", measure: deliveryOverJetStream },
  bridge: { title: "Bridge against grpc-js", measure: bridgeCalls },
  overload: { title: "Order lives at twice the saturating rate", measure: overload },
  growth: { title: "Many open orders and products against few", measure: growth, long: true },
  cluster: { title: "Cluster with two gateways and Orders", measure: clusterOfTwo, long: true },
  memory: { title: "Memory under load", measure: memoryUnderLoad, long: true },
};

const say = (line: string) => process.stderr.write(`${line}\n`);

const { values } = parseArgs({ options: { row: { type: "string", multiple: true } } });
const wanted = values.row ?? Object.keys(ROWS).filter((name) => !ROWS[name]?.long);
const unknown = wanted.find((name) => !(name in ROWS));
if (unknown !== undefined) {
  say(`There is no row "${unknown}". Rows: ${Object.keys(ROWS).join(", ")}.`);
  process.exit(2);
}
const rows: Row[] = [];
for (const name of wanted) {
  const row = ROWS[name] as BenchRow;
  say(row.title);
  rows.push(...(await row.measure()));
}
console.log(tableOf(rows));
say(`\nkept in ${relative(process.cwd(), keep(rows))}`);
