import { basename } from "node:path";
import Sequencer from "@jest/test-sequencer";

/**
 * jest knows from earlier runs which files take long and starts these first; on a fresh clone it takes the size of a file
 * instead. These wait much more than they hold, and would be the last ones, each alone.
 */
const LONG = [
  ...["access", "isolation", "sandbox", "orders-histories", "identity-confirm-races", "scenario-7"],
  ...["hostile-servers", "identity-guessing", "confirm-key", "partners-plans", "client-browser", "postgres"],
  ...[
    "departed-node",
    "client-streams",
    "browser",
    "push-delivery",
    "node-breaker",
    "simulation",
    "canaries",
  ],
].map((name) => `${name}.spec.ts`);

export default class LongFirst extends Sequencer {
  async sort(tests, options) {
    const sorted = await super.sort(tests, options);
    const isLong = ({ path }) => LONG.includes(basename(path));
    return [...sorted.filter(isLong), ...sorted.filter((test) => !isLong(test))];
  }
}
