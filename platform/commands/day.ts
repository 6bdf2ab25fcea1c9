/**
 * `npm run day -- --seed 7` plays a day on the platform that runs on DATA_DIR: three partners, one with a webhook and two by
 * hand, four couriers and twenty customers, by the API alone.
 */
import { parseArgs } from "node:util";
import { readSettings } from "../../lib/settings/settings.ts";
import { playDay } from "../../sandbox/day/day.ts";
import { customers } from "../../sandbox/day/plan.ts";
import { NotRunning } from "../control/client.ts";
import { runningPlaces } from "../running.ts";
import { readSecrets } from "../secrets.ts";
import { dataDirOf } from "../settings.ts";
import { runCommand, UsageError } from "./command.ts";

const SEED = 7;
const SEED_MAX = 1_000_000;
const CUSTOMERS = customers.length;

runCommand(async () => {
  const wanted = wantedDay();
  const settings = readSettings(process.env, { checkRequired: false });
  const dataDir = dataDirOf(settings);
  const { apiUrl, sandboxUrl, adminEmail } = await runningPlaces(dataDir);
  const password = settings.ADMIN_PASSWORD ?? readSecrets(dataDir).ADMIN_PASSWORD;
  if (!sandboxUrl || !adminEmail || !password) {
    throw new NotRunning(`the platform on ${dataDir} runs without its sandbox: start it with SANDBOX=true`);
  }
  const admin = { email: adminEmail, password };
  await playDay({ apiUrl, sandboxUrl, admin }, wanted, (line) => process.stdout.write(`${line}\n`));
});

function wantedDay(): { seed: number; customerCount: number } {
  try {
    const { values } = parseArgs({
      options: {
        seed: { type: "string", default: String(SEED) },
        customers: { type: "string", default: String(CUSTOMERS) },
      },
    });
    const [seed, customerCount] = [Number(values.seed), Number(values.customers)];
    const isSeed = Number.isInteger(seed) && seed >= 0 && seed <= SEED_MAX;
    if (isSeed && Number.isInteger(customerCount) && customerCount >= 1 && customerCount <= CUSTOMERS)
      return { seed, customerCount };
  } catch {
    // Unknown options get the same answer as a bad number.
  }
  throw new UsageError(`npm run day -- --seed <0 to ${SEED_MAX}> --customers <1 to ${CUSTOMERS}>`);
}
