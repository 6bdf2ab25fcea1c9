/**
 * `npm run rebuild -- payments` makes a collection of documents anew from PostgreSQL, on the platform that runs
 * on DATA_DIR. Reads go on meanwhile and may miss what is not there again yet.
 */
import { readConfig } from "../../lib/config/config.ts";
import { connectToPlatform } from "../control/client.ts";
import { dataDirOf } from "../settings.ts";
import { runCommand, UsageError } from "./command.ts";

runCommand(async () => {
  const platform = await connectToPlatform(dataDirOf(readConfig(process.env, { needs: false })));
  const { collections } = await platform.request("collections", {});
  const [collection, ...more] = process.argv.slice(2);
  if (!collection || more.length > 0 || !collections.includes(collection)) {
    throw new UsageError(`npm run rebuild -- ${collections.join("|") || "<collection>"}`);
  }
  const { documents } = await platform.request("rebuild", { collection });
  platform.close();
  console.log(`${collection}: ${documents} documents`);
});
