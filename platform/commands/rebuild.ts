/**
 * `npm run rebuild -- payments` rebuilds a collection of documents from PostgreSQL. If the environment has the URL of the
 * service's database, this process does it, beside running services. Otherwise the platform that runs on DATA_DIR does
 * it. Reads and messages are not interrupted.
 */
import { ServiceBroker } from "moleculer";
import { fail } from "../../contracts/errors.ts";
import { type ParsedSettings, readSettings } from "../../lib/settings/settings.ts";
import { type Documents, rebuildsOf } from "../../mixins/documents/documents.mixin.ts";
import { documentStoreLocation } from "../../mixins/documents/store-location.ts";
import { type Postgres, postgres } from "../../mixins/postgres/postgres.mixin.ts";
import { notificationDocuments } from "../../services/notifications/projections/history.ts";
import { orderProjections } from "../../services/orders/projections/projections.ts";
import { connectToPlatform } from "../control/client.ts";
import { dataDirOf, postgresUrlName } from "../settings.ts";
import { runCommand, UsageError } from "./command.ts";

const PROGRESS_MS = 2_000;
const POOL = 4;
const ACQUIRE_TIMEOUT_MS = 5_000;

/** Short names of collections. */
const names: Record<string, string> = { history: "order_history" };

/** The source database of each collection, and the collections of that database. */
const sources = {
  payments: { database: "orders", open: ofOrders },
  order_history: { database: "orders", open: ofOrders },
  notifications: { database: "notifications", open: ofNotifications },
} as const;
type Collection = keyof typeof sources;

runCommand(async () => {
  const config = readSettings(process.env, { checkRequired: false });
  const [word = "", ...more] = process.argv.slice(2);
  const collection = names[word] ?? word;
  if (!Object.hasOwn(sources, collection) || more.length > 0) {
    const known = [...Object.keys(names), ...Object.keys(sources)].join("|");
    throw new UsageError(`npm run rebuild -- ${known}`);
  }
  const documents = await rebuild(config, collection as Collection);
  console.log(`${collection}: ${documents} documents`);
});

async function rebuild(config: ParsedSettings, collection: Collection): Promise<number> {
  const { database, open } = sources[collection];
  const url = config[postgresUrlName(database)];
  if (url === undefined) return await rebuildByPlatform(config, collection);
  const db = postgres({ url, poolSize: POOL, acquireTimeoutMs: ACQUIRE_TIMEOUT_MS, name: "rebuild" });
  const broker = new ServiceBroker({ logger: false });
  const collections = open(db, config);
  broker.createService({ name: "rebuild", mixins: [db.mixin, ...collections.map(({ mixin }) => mixin)] });
  await broker.start();
  try {
    if (!collections.every(({ available }) => available())) {
      throw fail("SERVICE_UNAVAILABLE", "The document store cannot be reached.");
    }
    return (await rebuildsOf(broker).get(collection)?.(progressOf(collection))) as number;
  } finally {
    await broker.stop();
  }
}

type Opened = Pick<Documents<never>, "mixin" | "available">;

function ofOrders(db: Postgres, config: ParsedSettings): Opened[] {
  return Object.values(orderProjections(db, documentStoreLocation(config, db.url)));
}

function ofNotifications(db: Postgres, config: ParsedSettings): Opened[] {
  return [notificationDocuments(db, documentStoreLocation(config, db.url))];
}

async function rebuildByPlatform(config: ParsedSettings, collection: Collection): Promise<number> {
  const platform = await connectToPlatform(dataDirOf(config));
  const { documents } = await platform.request("rebuild", { collection });
  platform.close();
  return documents;
}

/** Prints the progress every two seconds. */
function progressOf(collection: string): (documents: number) => void {
  let printedMs = performance.now();
  return (documents) => {
    if (performance.now() - printedMs < PROGRESS_MS) return;
    printedMs = performance.now();
    console.error(`${collection}: ${documents} read`);
  };
}
