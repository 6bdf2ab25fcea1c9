import type { Outcome, Run } from "../run.ts";
import { callbacksUnderKills } from "./p1-callbacks.ts";
import { badPartners } from "./p2-partners.ts";
import { leaseHolderKilled } from "./p6-lease.ts";
import { natsLost } from "./p7-nats.ts";
import { postgresKilled } from "./p8-postgres.ts";
import { rollingRestarts } from "./p10-restarts.ts";
import { toxicNetwork } from "./p11-toxics.ts";
import { isolation } from "./p20-isolation.ts";
import { fairWaiting } from "./p24-waiting.ts";
import { withoutNats } from "./p25-without-nats.ts";

/** In the order in which they run: what is measured comes early, but on processes that are warm. */
export const scenarios: readonly (readonly [promise: string, scenario: (run: Run) => Promise<Outcome>])[] = [
  ["P2", badPartners],
  ["P20", isolation],
  ["P6", leaseHolderKilled],
  ["P7", natsLost],
  ["P10", rollingRestarts],
  ["P25", withoutNats],
  ["P24", fairWaiting],
  ["P11", toxicNetwork],
  ["P8", postgresKilled],
  ["P1", callbacksUnderKills],
];
