import type { Message } from "../../contracts/messages.ts";
import { FINAL } from "./checks.ts";
import { type Cluster, KINDS } from "./cluster.ts";
import type { InboxRecord } from "./stores/inbox.ts";
import type { OrderRecord, TransitionRecord } from "./stores/orders.ts";
import type { OutboxRecord } from "./stores/outbox.ts";
import type { ReceiptRecord, RefundRecord } from "./stores/payments.ts";
import type { ReservationRecord } from "./stores/reservations.ts";

/** The unfinished work as text; undefined when nothing is left. */
export function unrest(cluster: Cluster): string | undefined {
  if (cluster.unanswered > 0) return `${cluster.unanswered} requests are not answered`;
  if (cluster.stream.waiting() > 0) return `the stream holds ${cluster.stream.waiting()} messages`;
  for (const kind of KINDS) {
    const server = cluster.servers[kind];
    const unsent = server.all<OutboxRecord>("outbox").filter(({ sentAtMs }) => sentAtMs === undefined);
    if (unsent.length > 0) return `${unsent.length} messages wait in the outbox of ${kind}`;
    if (server.all<{ again?: object }>("carrier_marks").some(({ again }) => again))
      return `${kind} hands over again`;
    const waiting = server.all<InboxRecord>("inbox").filter(({ state }) => state === "waiting");
    if (waiting.length > 0) return `${waiting.length} messages wait in the inbox of ${kind}`;
  }
  const open = refunds(cluster).filter(({ state }) => state !== "completed" && state !== "failed");
  if (open.length > 0) return `${open.length} refunds are open`;
  const waiting = cluster.offersOrders ? orders(cluster).filter((order) => awaitsOffer(order, cluster)) : [];
  if (waiting.length > 0) return `${waiting.length} ready orders wait for an offer`;
  return undefined;
}

/** Whether a ready order is offered to no courier and not in the pool. */
function awaitsOffer({ status, pooledAt, offerUntil }: OrderRecord, { servers }: Cluster): boolean {
  const isOver = offerUntil === undefined || Date.parse(offerUntil) <= servers.orders.nowMs();
  return status === "ready" && pooledAt === undefined && isOver;
}

/** Orders that have not ended and have no alert. */
export function unended(cluster: Cluster): OrderRecord[] {
  return orders(cluster).filter(({ status, alertedAt }) => !FINAL.includes(status) && !alertedAt);
}

const orders = ({ servers }: Cluster) => servers.orders.all<OrderRecord>("orders");
const refunds = ({ servers }: Cluster) => servers.orders.all<RefundRecord>("refunds");
const receipts = ({ servers }: Cluster) => servers.orders.all<ReceiptRecord>("payment_receipts");
const sum = (amounts: readonly number[]) => amounts.reduce((all, one) => all + one, 0);

/** Checks the invariants of the final state. */
export function checkAtRest(cluster: Cluster): void {
  checkMoney(cluster);
  checkMessages(cluster);
  checkStock(cluster);
  checkHistory(cluster);
}

/** Compares the bank's books with ours: received money is either kept or refunded. */
function checkMoney(cluster: Cluster): void {
  const { world, bank } = cluster;
  const known = new Map(receipts(cluster).map((receipt) => [receipt.paymentId, receipt]));
  const alerts = cluster.servers.orders
    .all<OutboxRecord>("outbox")
    .flatMap(({ message }) =>
      message.type === "alert.raised" ? [message.data as Message<"alert.raised">["data"]] : [],
    );
  for (const { paymentId } of bank.strays.values()) {
    const told = alerts.filter(({ kind, subject }) => kind === "payment.unmatched" && subject === paymentId);
    if (told.length !== 1)
      world.violated(`of the stray payment ${paymentId} operators were told ${told.length} times`);
  }
  for (const { paymentId, amountMinor, orderId } of bank.payments.values()) {
    const receipt = known.get(paymentId);
    const isUncountable = (alert: { kind: string; detail: string }) =>
      alert.kind === "payment.unusable" && alert.detail.includes(paymentId);
    if (!receipt && alerts.some(isUncountable)) continue;
    if (receipt?.amountMinor !== amountMinor || receipt.orderId !== orderId) {
      world.violated(`payment ${paymentId} of ${amountMinor} is ${receipt?.amountMinor} in our books`);
    }
  }
  const back = [...bank.refunds.values()].filter(({ state }) => state === "completed");
  const ours = new Map(refunds(cluster).map((refund) => [refund.id, refund]));
  for (const { refundId, amountMinor } of back) {
    const refund = ours.get(refundId);
    if (refund?.state !== "completed" || refund.amountMinor !== amountMinor) {
      world.violated(`the bank sent ${amountMinor} back as ${refundId}, which is ${refund?.state} here`);
    }
  }
  const done = refunds(cluster).filter(({ state }) => state === "completed");
  if (done.length !== back.length) world.violated(`${done.length} refunds here, ${back.length} at the bank`);
  for (const order of orders(cluster)) {
    const name = `order ${order.id}`;
    const came = sum(
      receipts(cluster)
        .filter((one) => one.orderId === order.id)
        .map((one) => one.amountMinor),
    );
    const went = sum(done.filter((one) => one.orderId === order.id).map((one) => one.amountMinor));
    if (order.paidMinor !== came) world.violated(`${name}: ${order.paidMinor} of ${came} received`);
    if (order.refundedMinor !== went) world.violated(`${name}: ${order.refundedMinor} of ${went} refunded`);
    if (!Number.isSafeInteger(order.paidMinor)) world.violated(`${name}: its sum does not count exactly`);
    if (order.refundPendingMinor !== 0)
      world.violated(`${name}: ${order.refundPendingMinor} on its way for ever`);
    const kept = came - went;
    const ended = order.status === "cancelled" || order.status === "expired";
    if (ended && kept !== 0 && order.paymentStatus !== "refund_failed") {
      world.violated(`${name} is ${order.status} and keeps ${kept}`);
    }
    if (kept > order.totalMinor && order.paymentStatus !== "refund_failed") {
      world.violated(`${name} keeps ${kept} of ${order.totalMinor}`);
    }
  }
}

/** Every message that was said had its effect once with each group, or lies where an operator sees it. */
function checkMessages(cluster: Cluster): void {
  const { world, checks, pushed, servers } = cluster;
  for (const from of KINDS) {
    for (const { message } of servers[from].all<OutboxRecord>("outbox")) {
      for (const group of KINDS) {
        if (!cluster.stream.concerns(group, message.type)) continue;
        const row = servers[group].table("inbox").get(`${group}/${message.id}`) as unknown as InboxRecord;
        const effects = checks.effects.get(`${group} ${message.id}`) ?? 0;
        const name = `${message.type} ${message.id} at ${group}`;
        if (!row) world.violated(`${name} never came`);
        else if (row.state === "done" && effects !== 1) world.violated(`${name}: ${effects} effects`);
        else if (row.state !== "done" && effects !== 0) world.violated(`${name} is ${row.state} with effect`);
        if (row?.state === "dead" && (!row.deadLetterId || !row.error)) world.violated(`${name} died unseen`);
        if (group === "notifications" && row?.state === "done" && !pushed.get(message.id)) {
          world.violated(`${name} is done and nobody was told`);
        }
      }
    }
  }
}

/** The reservation of an order at Partners matches the newest message of the order. */
function checkStock(cluster: Cluster): void {
  const { world, servers } = cluster;
  const dead = new Set(
    servers.partners
      .all<InboxRecord>("inbox")
      .filter(({ state }) => state !== "done")
      .map(({ subject }) => subject),
  );
  for (const { orderId, state, orderVersion } of servers.partners.all<ReservationRecord>(
    "stock_reservations",
  )) {
    if (dead.has(orderId)) continue;
    const order = servers.orders.table("orders").get(orderId) as unknown as OrderRecord | undefined;
    const lines = servers.orders
      .all<TransitionRecord>("order_transitions")
      .filter((line) => line.orderId === orderId)
      .sort((a, b) => a.version - b.version);
    const told = lines.filter(({ to }) => ["pending", "paid", "cancelled", "expired"].includes(to)).at(-1);
    if (!order || !told) {
      if (state !== "released") world.violated(`stock of ${orderId} is ${state}, and there is no such order`);
      continue;
    }
    if (orderVersion !== told.version) {
      world.violated(`stock of ${orderId} heard of version ${orderVersion}, the newest is ${told.version}`);
    }
    const untouched = told.from === undefined || told.from === "pending" || told.from === "paid";
    const over = told.to === "cancelled" || told.to === "expired";
    const expected = over && untouched ? "released" : told.to === "pending" ? "held" : "committed";
    if (state !== expected) world.violated(`stock of ${orderId} is ${state}, the order ${order.status}`);
  }
}

/** The history of each order leads from state to state, and to where the order is. */
function checkHistory(cluster: Cluster): void {
  const { world, servers } = cluster;
  const lines = servers.orders
    .all<TransitionRecord>("order_transitions")
    .sort((a, b) => a.version - b.version);
  for (const { id, status } of orders(cluster)) {
    let at: string | undefined;
    for (const { orderId, from, to, version } of lines) {
      if (orderId !== id) continue;
      if (from !== at) world.violated(`order ${id}: version ${version} leads from ${from}, it was ${at}`);
      at = to;
    }
    if (at !== status) world.violated(`order ${id} is ${status}, its history ends ${at}`);
  }
  for (const order of unended(cluster)) world.violated(`order ${order.id} stays ${order.status}, unseen`);
}
