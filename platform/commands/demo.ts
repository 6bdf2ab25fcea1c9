/** `npm run demo` runs an order from sign-up to delivery on the platform that runs on DATA_DIR. */
import { readSettings } from "../../lib/settings/settings.ts";
import { demo } from "../../sandbox/demo/demo.ts";
import { runningSandbox } from "../running.ts";
import { dataDirOf } from "../settings.ts";
import { runCommand } from "./command.ts";

runCommand(async () => {
  const places = await runningSandbox(dataDirOf(readSettings(process.env, { checkRequired: false })));
  if (!(await demo(places))) process.exit(1);
});
