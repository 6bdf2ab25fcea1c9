import { call } from "../../contracts/actions.ts";
import { type Command, idOf } from "./command.ts";
import { moneyText, shortTime, table } from "./table.ts";

/** The reason in the audit log, because the console does not ask for one. The log contains the operator's id. */
const BY_REPL = "by the console";

const unmatched: Command = {
  usage: "unmatched",
  about: "Payments that match no order and are not refunded",
  example: "unmatched --limit 20",
  async run({ broker, options }) {
    const { items } = await call(broker, "orders.listUnmatched", { limit: options.limit });
    const rows = items.map((it) => [
      it.id,
      moneyText(it.amount),
      it.refund?.state ?? "",
      shortTime(it.at),
      it.paymentId,
    ]);
    const headings = ["ID", "AMOUNT", "REFUND", "AT (UTC)", "PAYMENT"];
    return { json: items, text: rows.length > 0 ? table(headings, rows) : "Every payment matches an order." };
  },
};

const refundPayment: Command = {
  usage: "refund-payment <id>",
  about: "Refunds a payment that matches no order",
  example: "refund-payment 0199c1a2-7f31-7a10-9d2e-0b7c5d1e2f30 --yes",
  destroys: "the balance of this payment: it is refunded to the customer",
  async run({ broker, args }) {
    const found = await call(broker, "orders.refundPayment", { receiptId: idOf(args.id), reason: BY_REPL });
    return { json: found, text: `${moneyText(found.amount)} are refunded by the refund ${found.id}.` };
  },
};

const assignPayment: Command = {
  usage: "assign-payment <id> <order>",
  about: "Assigns a payment that matches no order to an order",
  example: "assign-payment 0199c1a2-7f31-7a10-9d2e-0b7c5d1e2f30 0199c1a2-7f31-7a10-9d2e-0b7c5d1e2f31",
  async run({ broker, args }) {
    const ids = { receiptId: idOf(args.id), orderId: idOf(args.order) };
    const found = await call(broker, "orders.assignPayment", { ...ids, reason: BY_REPL });
    return { json: found, text: `The order ${found.id} is ${found.status}, paid ${moneyText(found.paid)}.` };
  },
};

const retryRefund: Command = {
  usage: "retry-refund <id>",
  about: "Retries a failed refund",
  example: "retry-refund 0199c1a2-7f31-7a10-9d2e-0b7c5d1e2f30",
  async run({ broker, args }) {
    const found = await call(broker, "orders.retryRefund", { refundId: idOf(args.id), reason: BY_REPL });
    return { json: found, text: `${moneyText(found.amount)} are refunded by the refund ${found.id}.` };
  },
};

const disputes: Command = {
  usage: "disputes",
  about: "Payments that customers dispute at the bank",
  example: "disputes --limit 20",
  async run({ broker, options }) {
    const { items } = await call(broker, "orders.listDisputes", { limit: options.limit });
    const rows = items.map((it) => [
      it.orderId ?? it.paymentId,
      it.state,
      it.withdrawn ? "taken" : "ours",
      moneyText(it.amount),
      it.reason,
    ]);
    const headings = ["ORDER", "STATE", "MONEY", "AMOUNT", "REASON"];
    return { json: items, text: rows.length > 0 ? table(headings, rows) : "No payment is disputed." };
  },
};

export const paymentCommands: readonly Command[] = [
  unmatched,
  refundPayment,
  assignPayment,
  retryRefund,
  disputes,
];
