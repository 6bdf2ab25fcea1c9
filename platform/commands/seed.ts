/**
 * `npm run seed -- --orders 40` creates orders of the sandbox's customer on the platform that runs on DATA_DIR, with
 * the scenarios of sandbox/demo/scenarios.ts in turn, so that lists, pages and consoles show data.
 */
import { parseArgs } from "node:util";
import { readSettings } from "../../lib/settings/settings.ts";
import { SEED_ORDERS_MAX, seedOrders } from "../../sandbox/demo/seed.ts";
import { runningSandbox } from "../running.ts";
import { dataDirOf } from "../settings.ts";
import { runCommand, UsageError } from "./command.ts";

const ORDERS = 20;

runCommand(async () => {
  const count = wantedOrders();
  await seedOrders(
    await runningSandbox(dataDirOf(readSettings(process.env, { checkRequired: false }))),
    count,
  );
});

function wantedOrders(): number {
  try {
    const { values } = parseArgs({ options: { orders: { type: "string", default: String(ORDERS) } } });
    const count = Number(values.orders);
    if (Number.isInteger(count) && count >= 1 && count <= SEED_ORDERS_MAX) return count;
  } catch {
    // Unknown options get the same answer as a bad number.
  }
  throw new UsageError(`npm run seed -- --orders <1 to ${SEED_ORDERS_MAX}>`);
}
