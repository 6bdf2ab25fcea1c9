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

/** What the adapter was written and tested against; Stripe answers in the shapes of this version. */
export const STRIPE_API_VERSION = "2026-10-28.endive";
const API_URL = "https://api.stripe.com";
/** Stripe closes no page sooner than half an hour after it was opened; the minute is for clocks that differ. */
const STAYS_OPEN_MS = 31 * 60_000;
/**
 * Ways to pay whose money is sure only days after the page: no order waits so long, and what came then would only be
 * sent back. Stripe offers whatever of its list is switched on in the Dashboard, unless it stands here.
 */
const PAYS_LATER: Stripe.Checkout.SessionCreateParams.ExcludedPaymentMethodType[] = [
  // Debits, which the customer's bank may refuse for days.
  ...[
    "acss_debit",
    "au_becs_debit",
    "bacs_debit",
    "nz_bank_account",
    "payto",
    "sepa_debit",
    "us_bank_account",
  ],
  // Transfers and vouchers, which the customer pays when it suits.
  ...["boleto", "customer_balance", "konbini", "multibanco", "oxxo", "sofort"],
];
const LINES_MAX = 100;
const REFUNDS_PER_PAGE = 100;
const REASON_MAX_LENGTH = 200;

/**
 * Stripe Checkout. `secretKey` needs the rights to write Checkout Sessions and Refunds and to read PaymentIntents;
 * `webhookSecret` is the endpoint's, `webhookSecretPrevious` the one before while it is rolled; `returnUrl` is where
 * the customer's browser goes afterwards, with `order_id` and `checkout=paid|cancelled` added. The endpoint is to be
 * sent `checkout.session.completed`, `.async_payment_succeeded`, `.async_payment_failed`, `.expired`,
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
      // A request that failed may have done it all the same.
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
        // What was found so is up to a minute old; a checkout's own id, where there is one, tells the truth.
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
        // Paid or closed already: only an open one can be closed.
        if ((error as BankError).kind !== "refused") throw error;
      }
    },
  };
}

/** Refunds cannot be searched for, but a payment has few. */
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

/** The library takes 36 MB: it is loaded when a bank is first talked to, so that nobody without Stripe carries it. */
async function connect(secretKey: string, apiUrl: string): Promise<Stripe> {
  const { default: StripeClient } = await import("stripe");
  const { protocol, hostname, port } = new URL(apiUrl);
  return new StripeClient(secretKey, {
    apiVersion: STRIPE_API_VERSION,
    protocol: protocol === "http:" ? "http" : "https",
    host: hostname,
    // Without one, the library's own: 443.
    port,
    timeout: TIMEOUT_MS,
    // A repeat is decided where the order's state is known.
    maxNetworkRetries: 0,
    telemetry: false,
    httpClient: StripeClient.createFetchHttpClient(limitedFetch),
  });
}

/** The same words for the same order, or Stripe would refuse a repeat under the same key. */
function sessionOf(request: CheckoutRequest, returnUrl: string): Stripe.Checkout.SessionCreateParams {
  const { orderId, payBy, description } = request;
  const metadata = { order_id: orderId };
  return {
    mode: "payment",
    client_reference_id: orderId,
    metadata,
    payment_intent_data: { metadata, description },
    line_items: itemsOf(request),
    // What comes in is what is owed: no conversion into the customer's own currency.
    adaptive_pricing: { enabled: false },
    excluded_payment_method_types: PAYS_LATER,
    success_url: backTo(request.returnUrl ?? returnUrl, orderId, "paid"),
    cancel_url: backTo(request.returnUrl ?? returnUrl, orderId, "cancelled"),
    ...(payBy && { expires_at: Math.ceil((Date.parse(payBy) + STAYS_OPEN_MS) / 1000) }),
  };
}

/** Line by line where that says exactly the amount, else in one. */
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
      // A part may be no amount of Stripe's although the whole is one.
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
