import { newId } from "../../lib/ids.ts";
import { signed } from "../e2e/kitchen.ts";
import { query } from "../support/sql.ts";
import { paymentReport } from "./bank.ts";
import type { Run } from "./run.ts";

/** So many of each kind. */
const REPEATS = 100;
const AT_ONCE = 8;

/**
 * Banks and kitchens say again what was acknowledged long ago: the same events, the same payments under ids of other
 * events, and what kitchens said. All of it is taken, and none of it does anything.
 * @returns figures, and what was wrong, a line each
 */
export async function repeatAcknowledged(run: Run) {
  const { world, ledger } = run;
  const paid = sample(
    run,
    [...ledger.paymentEvents].filter(([, { acknowledged }]) => acknowledged),
  );
  const said = sample(
    run,
    [...ledger.callbacks].filter(
      ([, { status, partnerId, body }]) =>
        status === 202 &&
        body !== undefined &&
        world.kitchens.some((kitchen) => kitchen.partnerId === partnerId),
    ),
  );
  const problems: string[] = [];
  const post = async (what: string, path: string, secret: string, id: string, body: string) => {
    const headers = signed(secret, id, new Date(), body);
    const { status } = await world.client.settle(`POST /webhooks/${path}`, { headers, body });
    if (status < 200 || status >= 300) problems.push(`${what} ${id} was answered ${status}`);
  };
  const payments = `payments/${world.bankId}`;
  const before = await kept(run);
  await all(paid, ([eventId, payment]) =>
    post("the repeated payment event", payments, world.webhookSecret, eventId, paymentReport(payment)),
  );
  await all(paid, async ([, payment]) => {
    const eventId = newId();
    await post(
      "the payment under another event",
      payments,
      world.webhookSecret,
      eventId,
      paymentReport(payment),
    );
    ledger.paymentEvents.set(eventId, payment);
  });
  await all(said, ([id, { partnerId, type, body }]) => {
    const secret = world.kitchens.find((kitchen) => kitchen.partnerId === partnerId)?.secret ?? "";
    return post(`the repeated ${type}`, `partners/${partnerId}`, secret, id, body ?? "");
  });
  const after = await kept(run);
  for (const [what, count] of Object.entries(after)) {
    if (count !== before[what]) problems.push(`repeats made ${count} ${what} of ${before[what]}`);
  }
  const least = Math.min(paid.length, said.length);
  if (least === 0) problems.push("nothing was there to be repeated");
  return { figures: { "repeated payments": 2 * paid.length, "repeated callbacks": said.length }, problems };
}

/** Some of them, any of which is as likely as another. */
function sample<T>({ random }: Run, from: T[]): T[] {
  const chosen: T[] = [];
  const left = [...from];
  while (chosen.length < REPEATS && left.length > 0) {
    chosen.push(...left.splice(random.between(0, left.length - 1), 1));
  }
  return chosen;
}

async function all<T>(work: readonly T[], one: (item: T) => Promise<void>): Promise<void> {
  const left = [...work];
  const next = async () => {
    for (let item = left.shift(); item !== undefined; item = left.shift()) await one(item);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, next));
}

async function kept({ cluster }: Run): Promise<Record<string, number>> {
  const [counts] = await query<Record<string, number>>(
    cluster.url("orders"),
    `SELECT (SELECT count(*)::integer FROM payment_receipts) AS receipts,
       (SELECT count(*)::integer FROM partner_callbacks) AS callbacks`,
  );
  return counts ?? {};
}
