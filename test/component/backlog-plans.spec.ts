import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { idAt } from "../../bench/lib/generate.ts";
import { newId } from "../../lib/ids.ts";
import { listUndelivered } from "../../mixins/consumer/dead-letters.repository.ts";
import { acceptMessages, claimDue, oldestWaitingMs } from "../../mixins/consumer/inbox.repository.ts";
import { parseMessage } from "../../mixins/consumer/parse-message.ts";
import { envelope } from "../../mixins/outbox/envelope.ts";
import { insertMessages } from "../../mixins/outbox/outbox.repository.ts";
import { userDeleted } from "../support/messaging.ts";
import { LOAD_TIMEOUT_MS, PLAN_ROWS, type PlanBench, planBench } from "../support/plans.ts";

/** Half of the large size: a million messages wait. */
const BACKLOG = PLAN_ROWS / 2;
const OTHERS = 20;
const GROUP = "orders";
/** Each row that is claimed is read a few times, one that is not never. */
const ROWS = 8 * OTHERS;

const waiting = (type: string, count: number, since: string) => `
  INSERT INTO inbox (message_id, consumer, source, type, subject, time, dataschema, data, next_at)
  SELECT gen_random_uuid(), '${GROUP}', 's', '${type}', '${type}/' || n, now(), 'd', '{}', now() - interval '${since}'
  FROM generate_series(1, ${count}) n`;

describe(`with ${BACKLOG} messages that wait for a store`, () => {
  let bench: PlanBench;
  beforeAll(async () => {
    bench = await planBench("orders");
    await bench.load(
      waiting("order.paid", BACKLOG, "2 hours"),
      waiting("user.deleted", OTHERS, "1 minute"),
      `INSERT INTO outbox (id, source, type, subject, time, dataschema, data, attempts)
       SELECT ${idAt("now()", "n")}, 's', 'order.paid', 'order.paid/' || n, now(), 'd', '{}', 1
       FROM generate_series(1, ${BACKLOG}) n`,
    );
  }, LOAD_TIMEOUT_MS);
  afterAll(() => bench.stop());

  const claim = (types: string[], limit = 2 * OTHERS) => ({
    ...{ group: GROUP, types, limit, isolated: 1, token: newId(), leaseMs: 10_000 },
  });

  describe.each(["stale", "fresh"])("with %s statistics", (statistics) => {
    beforeAll(async () => {
      if (statistics === "fresh") await bench.analyze();
    }, LOAD_TIMEOUT_MS);

    it("messages of another handler are claimed without reading them", async () => {
      await bench.expectRows(async (on) => {
        expect(await claimDue(on, claim(["user.deleted"]))).toHaveLength(OTHERS);
      }, ROWS);
    });

    it("messages of the same worker get their share of each claim", async () => {
      await bench.expectRows(async (on) => {
        const claimed = await claimDue(on, claim(["order.paid", "user.deleted", "user.updated"]));
        const types = Map.groupBy(claimed, ({ type }) => type);
        expect([types.get("order.paid")?.length, types.get("user.deleted")?.length]).toEqual([
          OTHERS,
          OTHERS,
        ]);
        expect(claimed[0]?.share).toBe(OTHERS);
      }, 2 * ROWS);
    });

    it("the open messages of a subject, and the age of the oldest, cost as much as they return", async () => {
      await bench.expectRows(async (on) => {
        expect(await listUndelivered(on, "order.paid/77", 100)).toHaveLength(2);
      }, 10);
      await bench.expectRows((on) => oldestWaitingMs(on, GROUP, ["order.paid", "user.deleted"]), 150);
    });

    it("new messages are sent and accepted at the usual cost", async () => {
      const message = envelope("waybill/test", userDeleted(), Date.now());
      await bench.expectRows((on) => insertMessages(on, [message]), 10);
      const judged = [parseMessage(message, Date.now(), 86_400_000)];
      await bench.expectRows(
        (on) => acceptMessages(on, GROUP, judged, { token: newId(), leaseMs: 60_000 }),
        10,
      );
    });
  });
});
