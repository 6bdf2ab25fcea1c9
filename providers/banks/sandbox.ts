import { Webhook } from "standardwebhooks";
import { parseForeignJson } from "../../lib/json.ts";
import { isCurrency, type Money } from "../../lib/money.ts";
import { shortenLine } from "../../lib/text.ts";
import { type Fields, fieldsOf, isText } from "./fields.ts";
import { exchange } from "./http.ts";
import {
  type Bank,
  type BankAdapter,
  BankError,
  type Callback,
  type Payment,
  type RefundState,
  type Verdict,
} from "./port.ts";
import { oneMatches, TOLERANCE_SECONDS } from "./signature.ts";

const ID_MAX_LENGTH = 200;
const REASON_MAX_LENGTH = 200;

/** The protocol of docs/banks.md, which the sandbox's payment system speaks. */
export const sandboxBank: BankAdapter = {
  settings: ["apiKey", "webhookSecret"],
  optional: ["webhookSecretPrevious"],
  open,
};

function open(settings: Readonly<Record<string, string>>, webcheckoutUrl: string): Bank {
  const { apiKey = "", webhookSecret = "", webhookSecretPrevious = "" } = settings;
  if (!/^[\x21-\x7e]{1,500}$/.test(apiKey)) throw new Error("apiKey is not printable ASCII");
  const secrets = Object.entries({ webhookSecret, webhookSecretPrevious }).filter(([, secret]) => secret);
  for (const [name, secret] of secrets) {
    if (!/^whsec_[A-Za-z0-9+/]{22,100}={0,2}$/.test(secret)) {
      throw new Error(`${name} is not of the form whsec_<base64>`);
    }
  }
  const base = webcheckoutUrl.replace(/(?<!\/)\/+$/, "");
  const authorization = { authorization: `Bearer ${apiKey}` };
  const webhooks = secrets.map(([, secret]) => new Webhook(secret));

  const post = (path: string, key: string, body: object, timeoutMs?: number) =>
    exchange({
      method: "POST",
      url: new URL(base + path),
      headers: { ...authorization, "idempotency-key": key },
      body,
      timeoutMs,
    });
  const get = (path: string) =>
    exchange({ method: "GET", url: new URL(base + path), headers: authorization });

  return {
    async openCheckout(request) {
      const body = {
        order_id: request.orderId,
        ...amountOut(request.amount),
        description: request.description,
        callback_url: request.callbackUrl,
        return_url: request.returnUrl,
      };
      const answer = await post("/checkouts", request.idempotencyKey, body, request.timeoutMs);
      const { url } = fieldsOf(answer);
      if (typeof url !== "string" || !/^https?:$/.test(protocolOf(url))) {
        throw new BankError("unclear", "the answer holds no checkout page");
      }
      return { checkoutUrl: url };
    },
    verify: (callback) => verify(webhooks, callback),
    async refund({ refundId, paymentId, amount }) {
      const body = { id: refundId, payment_id: paymentId, ...amountOut(amount) };
      const answer = await post("/refunds", refundId, body);
      if (answer === undefined) throw new BankError("refused", "answered 404");
      return refundState(answer);
    },
    async findRefund(refundId) {
      const answer = await get(`/refunds/${encodeURIComponent(refundId)}`);
      return answer === undefined ? undefined : refundState(answer);
    },
    async findPayments(orderId) {
      const { items } = fieldsOf(await get(`/payments?order_id=${encodeURIComponent(orderId)}`));
      if (!Array.isArray(items)) throw new BankError("unreadable", "the answer holds no list of payments");
      return items.map(paymentOf);
    },
  };
}

function verify(webhooks: readonly Webhook[], { headers, body, now }: Callback): Verdict {
  const id = headers["webhook-id"];
  const timestamp = headers["webhook-timestamp"];
  const signatures = headers["webhook-signature"];
  if (!id || !timestamp || !signatures) return { kind: "refused", reason: "unsigned" };
  // The package's own `verify` accepts "1700000000x" as a time and always uses the system clock.
  if (!/^[1-9]\d{0,11}$/.test(timestamp) || id.length > ID_MAX_LENGTH)
    return { kind: "refused", reason: "wrong" };
  const at = new Date(Number(timestamp) * 1000);
  const expected = webhooks.map((webhook) => webhook.sign(id, at, body));
  if (!oneMatches(signatures.split(" "), expected)) {
    return { kind: "refused", reason: "wrong" };
  }
  if (Math.abs(now / 1000 - Number(timestamp)) > TOLERANCE_SECONDS)
    return { kind: "refused", reason: "stale" };
  return read(id, body);
}

const kinds = {
  "payment.succeeded": "paid",
  "payment.failed": "failed",
  "refund.completed": "refunded",
} as const;

function read(eventId: string, body: string): Verdict {
  const unusable = (reason: string): Verdict => ({ kind: "unusable", eventId, reason });
  let event: Fields;
  try {
    event = fieldsOf(parseForeignJson(body));
  } catch {
    return unusable("the body is not JSON");
  }
  const data = fieldsOf(event.data);
  const { payment_id: paymentId, order_id: orderId, refund_id: refundId } = data;
  const amount = amountIn(data);
  if (typeof event.type !== "string" || !Object.hasOwn(kinds, event.type)) return unusable("unknown type");
  if (!isText(paymentId) || !isText(orderId)) return unusable("it names no payment or no order");
  if (!amount) return unusable("the amount is not a positive whole number of minor units with a currency");
  const kind = kinds[event.type as keyof typeof kinds];
  if (kind === "refunded" && !isText(refundId)) return unusable("it names no refund");
  return {
    kind: "event",
    event: { eventId, paymentId, orderId, amount, kind, ...(isText(refundId) && { refundId }) },
  };
}

function amountOut({ amountMinor, currency }: Money) {
  return { amount_minor: amountMinor, currency };
}

function amountIn({ amount_minor: amountMinor, currency }: Fields): Money | undefined {
  if (!Number.isSafeInteger(amountMinor) || (amountMinor as number) <= 0) return undefined;
  if (!isCurrency(currency)) return undefined;
  return { amountMinor: amountMinor as number, currency };
}

function paymentOf(item: unknown): Payment {
  const fields = fieldsOf(item);
  const amount = amountIn(fields);
  if (!isText(fields.payment_id) || !amount) throw new BankError("unreadable", "a payment cannot be read");
  const { payment_id: paymentId, refunded_minor: refundedMinor } = fields;
  const isAmount = Number.isSafeInteger(refundedMinor) && (refundedMinor as number) >= 0;
  return { paymentId, amount, ...(isAmount && { refundedMinor: refundedMinor as number }) };
}

function refundState(answer: unknown): RefundState {
  const { state, reason } = fieldsOf(answer);
  if (state !== "pending" && state !== "completed" && state !== "failed") {
    throw new BankError("unclear", "the answer holds no state of the refund");
  }
  return { state, ...(typeof reason === "string" && { reason: shortenLine(reason, REASON_MAX_LENGTH) }) };
}

function protocolOf(url: string): string {
  return URL.canParse(url) ? new URL(url).protocol : "";
}
