import type Stripe from "stripe";
import { lazyAsync } from "../../lib/lazy-async.ts";
import type { Money } from "../../lib/money.ts";
import { shortenLine } from "../../lib/text.ts";
import {
  type Bank,
  type BankAdapter,
  type BankEnvironment,
  BankError,
  type CheckoutRequest,
  type Payment,
  type RefundState,
} from "./port.ts";
import { fromStripe, toStripe } from "./stripe-amounts.ts";
import { limitedFetch, mapped, TIMEOUT_MS, underKeys } from "./stripe-errors.ts";
import { idOf, verifyStripe } from "./stripe-events.ts";

/** The adapter is tested against this version; Stripe answers in its format. */
export const STRIPE_API_VERSION = "2026-10-28.endive";
const API_URL = "https://api.stripe.com";
/** Stripe keeps a page open for at least half an hour; the minute allows for a clock difference. */
const STAYS_OPEN_MS = 31 * 60_000;
/**
 * Payment methods that are confirmed only after days. No order waits so long, so a late payment would only be refunded.
 * Stripe offers all methods that are enabled in the Dashboard, except these.
 */
const PAYS_LATER: Stripe.Checkout.SessionCreateParams.ExcludedPaymentMethodType[] = [
  // Direct debits, which the customer's bank can refuse for days.
  ...[
    "acss_debit",
    "au_becs_debit",
    "bacs_debit",
    "nz_bank_account",
    "payto",
    "sepa_debit",
    "us_bank_account",
  ],
  // Transfers and vouchers, which the customer can pay days later.
  ...["boleto", "customer_balance", "konbini", "multibanco", "oxxo", "sofort"],
];
const LINES_MAX = 100;
const REFUNDS_PER_PAGE = 100;
const REASON_MAX_LENGTH = 200;

/**
 * Stripe Checkout. `secretKey` needs the rights to write Checkout Sessions and Refunds and to read PaymentIntents;
 * `webhookSecret` is the endpoint's secret, `webhookSecretPrevious` the former one during a rotation. Afterwards the
 * customer's browser goes to `returnUrl` with `order_id` and `checkout=paid|cancelled` added. The endpoint must
 * receive `checkout.session.completed`, `.async_payment_succeeded`, `.async_payment_failed`, `.expired`,
 * `refund.created`, `.updated`, `.failed` and `charge.dispute.created`, `.updated`, `.closed`, `.funds_withdrawn`,
 * `.funds_reinstated`.
 */
export const stripeBank: BankAdapter = {
  settings: ["secretKey", "webhookSecret", "returnUrl"],
  optional: ["webhookSecretPrevious"],
  open,
};

function open(
  settings: Readonly<Record<string, string>>,
  _webcheckoutUrl: string,
  { stripeApiUrl = API_URL }: BankEnvironment,
): Bank {
  const { secretKey = "", webhookSecret = "", webhookSecretPrevious, returnUrl = "" } = settings;
  if (!/^[rs]k_(test|live)_[A-Za-z0-9]{1,250}$/.test(secretKey)) {
    throw new Error("secretKey is not of the form sk_test_…, sk_live_…, rk_test_… or rk_live_…");
  }
  const secrets = webhookSecretPrevious ? [webhookSecret, webhookSecretPrevious] : [webhookSecret];
  if (!secrets.every((secret) => /^whsec_[A-Za-z0-9+/=_-]{16,250}$/.test(secret))) {
    throw new Error("webhookSecret and webhookSecretPrevious are of the form whsec_…");
  }
  if (!/^https?:\/\//.test(returnUrl) || !URL.canParse(returnUrl))
    throw new Error("returnUrl is no http(s) address");
  const client = lazyAsync(() => connect(secretKey, stripeApiUrl));

  return {
    async openCheckout(request) {
      const stripe = await client();
      const session = await underKeys(request.idempotencyKey, timeoutOf(request), (options) =>
        stripe.checkout.sessions.create(sessionOf(request, returnUrl), options),
      );
      if (!session.url) throw new BankError("unclear", "the checkout has no page");
      return { checkoutUrl: session.url, reference: session.id };
    },
    verify: (callback) => verifyStripe(secrets, callback),
    async refund({ refundId, paymentId, amount, orderId }) {
      const stripe = await client();
      const params: Stripe.RefundCreateParams = {
        payment_intent: paymentId,
        amount: toStripe(amount),
        metadata: { refund_id: refundId, ...(orderId && { order_id: orderId }) },
      };
      const create = (options: Stripe.RequestOptions) => stripe.refunds.create(params, options);
      // A failed request may have created the refund.
      const done = () => findRefund(stripe, refundId, paymentId);
      return stateOf(await underKeys(refundId, TIMEOUT_MS, create, done));
    },
    async findRefund(refundId, paymentId) {
      const found = await findRefund(await client(), refundId, paymentId);
      return found && stateOf(found);
    },
    async findPayments(orderId, reference) {
      const stripe = await client();
      if (!reference) {
        // The search index is up to a minute behind, so it is used only for orders without a checkout id.
        const query = `metadata['order_id']:'${orderId.replaceAll(/['\\]/g, "\\$&")}' AND status:'succeeded'`;
        const expand = ["data.latest_charge"];
        const found = await mapped(stripe.paymentIntents.search({ query, expand, limit: REFUNDS_PER_PAGE }));
        return found.data.map(paymentOf);
      }
      const expand = ["payment_intent.latest_charge"];
      const session = await mapped(stripe.checkout.sessions.retrieve(reference, { expand }));
      if (session.payment_status !== "paid" || typeof session.payment_intent !== "object") return [];
      return session.payment_intent ? [paymentOf(session.payment_intent)] : [];
    },
    async closeCheckout(reference) {
      const stripe = await client();
      try {
        await mapped(stripe.checkout.sessions.expire(reference));
      } catch (error) {
        // Stripe refuses to close a checkout that is already paid or closed.
        if ((error as BankError).kind !== "refused") throw error;
      }
    },
  };
}

/** Reads all refunds of the payment: Stripe cannot search for refunds, and a payment has few. */
async function findRefund(
  stripe: Stripe,
  refundId: string,
  paymentId: string,
): Promise<Stripe.Refund | undefined> {
  let after: string | undefined;
  do {
    const page = await mapped(
      stripe.refunds.list({
        payment_intent: paymentId,
        limit: REFUNDS_PER_PAGE,
        ...(after && { starting_after: after }),
      }),
    );
    const found = page.data.find(({ metadata }) => metadata?.refund_id === refundId);
    if (found) return found;
    after = page.has_more ? page.data.at(-1)?.id : undefined;
  } while (after);
  return undefined;
}

/** Loads Stripe's library, which takes 36 MB, at the first call: an installation without Stripe does not load it. */
async function connect(secretKey: string, apiUrl: string): Promise<Stripe> {
  const { default: StripeClient } = await import("stripe");
  const { protocol, hostname, port } = new URL(apiUrl);
  return new StripeClient(secretKey, {
    apiVersion: STRIPE_API_VERSION,
    protocol: protocol === "http:" ? "http" : "https",
    host: hostname,
    port, // empty for the default port
    timeout: TIMEOUT_MS,
    // The caller decides about repeats, because it knows the state of the order.
    maxNetworkRetries: 0,
    telemetry: false,
    httpClient: StripeClient.createFetchHttpClient(limitedFetch),
  });
}

/** Must be equal for equal orders: Stripe refuses a repeat under the same key with other parameters. */
function sessionOf(request: CheckoutRequest, returnUrl: string): Stripe.Checkout.SessionCreateParams {
  const { orderId, payBy, description } = request;
  const metadata = { order_id: orderId };
  return {
    mode: "payment",
    client_reference_id: orderId,
    metadata,
    payment_intent_data: { metadata, description },
    line_items: itemsOf(request),
    // No conversion into the customer's currency, so that the paid amount equals the order's.
    adaptive_pricing: { enabled: false },
    excluded_payment_method_types: PAYS_LATER,
    success_url: backTo(request.returnUrl ?? returnUrl, orderId, "paid"),
    cancel_url: backTo(request.returnUrl ?? returnUrl, orderId, "cancelled"),
    ...(payBy && { expires_at: Math.ceil((Date.parse(payBy) + STAYS_OPEN_MS) / 1000) }),
  };
}

/** One item for each line if they add up to the amount, else one item for the order. */
function itemsOf({
  amount,
  description,
  lines = [],
}: CheckoutRequest): Stripe.Checkout.SessionCreateParams.LineItem[] {
  const { currency } = amount;
  const item = (title: string, quantity: number, unit: Money) => ({
    quantity,
    price_data: {
      currency: currency.toLowerCase(),
      unit_amount: toStripe(unit),
      product_data: { name: title },
    },
  });
  const sumMinor = lines.reduce((sum, { quantity, unitAmountMinor }) => sum + quantity * unitAmountMinor, 0);
  if (lines.length <= LINES_MAX && sumMinor === amount.amountMinor) {
    try {
      return lines.map(({ title, quantity, unitAmountMinor }) =>
        item(title, quantity, { amountMinor: unitAmountMinor, currency }),
      );
    } catch {
      // Stripe may be unable to represent the amount of a line although it can represent the sum.
    }
  }
  return [item(description, 1, amount)];
}

function backTo(returnUrl: string, orderId: string, checkout: "paid" | "cancelled"): string {
  const url = new URL(returnUrl);
  url.searchParams.set("order_id", orderId);
  url.searchParams.set("checkout", checkout);
  return url.href;
}

function paymentOf(intent: Stripe.PaymentIntent): Payment {
  const { currency, latest_charge: charge } = intent;
  const amount = fromStripe(intent.amount_received, currency);
  const paymentId = idOf(intent);
  if (!amount || !paymentId) throw new BankError("unreadable", "a payment cannot be read");
  if (charge === null || typeof charge === "string") return { paymentId, amount };
  return {
    paymentId,
    amount,
    refundedMinor: fromStripe(charge.amount_refunded, currency)?.amountMinor ?? 0,
  };
}

function stateOf({ status, failure_reason: why }: Stripe.Refund): RefundState {
  switch (status) {
    case "succeeded":
      return { state: "completed" };
    case "pending":
    case "requires_action":
      return { state: "pending" };
    case "failed":
    case "canceled":
      return { state: "failed", reason: shortenLine(why ?? status, REASON_MAX_LENGTH) };
    default:
      throw new BankError("unclear", "the answer holds no state of the refund");
  }
}

function timeoutOf({ timeoutMs = TIMEOUT_MS }: CheckoutRequest): number {
  return Math.min(timeoutMs, TIMEOUT_MS);
}
