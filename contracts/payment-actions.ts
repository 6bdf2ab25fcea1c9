import { action } from "./action.ts";
import { order } from "./orders.ts";
import { dispute, refund, unmatchedPayment } from "./payments.ts";
import { object, page, paging, text, uuid } from "./schema.ts";

const reason = text(500);

/** Actions of operators on payments that cannot be processed automatically. */
export const paymentActions = {
  "orders.listUnmatched": action(object({ ...paging }), page(unmatchedPayment), { idempotent: true }),
  "orders.refundPayment": action(object({ receiptId: uuid, reason }), refund),
  "orders.assignPayment": action(object({ receiptId: uuid, orderId: uuid, reason }), order),
  "orders.retryRefund": action(object({ refundId: uuid, reason }), refund),
  "orders.listDisputes": action(object({ ...paging }), page(dispute), { idempotent: true }),
} as const;
