import { createHash, timingSafeEqual } from "node:crypto";
import { isCurrency, minorUnitDigits } from "../../lib/money.ts";
import { jsonOf, type Routes, serve, type WebAnswer, WebError, type WebRequest } from "../web.ts";
import { type Checkout, type Ledger, ledger, type Payment } from "./ledger.ts";
import { checkoutPage, checkoutsPage } from "./pages.ts";
import { type Reports, reports } from "./reports.ts";

const TEXT_MAX = 200;
const CHECKOUTS_SHOWN = 50;
const URL_MAX = 2_048;

export interface PaymentSystemOptions {
  /** The path under which it is served. */
  base: string;
  /** `http://host:port`, asked when a page's address is told. */
  publicUrl: () => string;
  /** What merchants prove themselves by. */
  apiKey: string;
  /** What it signs its reports by: `whsec_<base64>`. */
  webhookSecret: string;
  /** Where its books are kept; absent: in memory. */
  file?: string;
}

/**
 * A bank of the sandbox: an API for merchants, a page for their customers, and signed reports. It plays a
 * stranger's part and knows of Waybill only what any merchant would tell it.
 */
export function paymentSystem(options: PaymentSystemOptions): { routes: Routes; stop(): void } {
  const { base, publicUrl } = options;
  const books = ledger(options.file);
  const outgoing = reports(options.webhookSecret);
  const view = (checkout: Checkout, problem?: string) =>
    checkoutPage({
      base,
      checkout,
      payments: books.paymentsOf(checkout.id),
      reports: outgoing.of(checkout.id),
      ...(problem && { problem }),
    });
  const guarded = (handler: (request: WebRequest) => WebAnswer) => (request: WebRequest) => {
    if (!sameSecret(request.headers.authorization ?? "", `Bearer ${options.apiKey}`)) {
      throw new WebError(401, "The API key is missing or wrong.");
    }
    return handler(request);
  };

  return {
    stop() {
      outgoing.stop();
      books.close();
    },
    routes: {
      [`POST ${base}/checkouts`]: guarded((request) => {
        const checkout = books.openCheckout(wantedCheckout(request));
        return {
          status: 201,
          json: { id: checkout.id, url: `${publicUrl()}${base}/checkout/${checkout.id}` },
        };
      }),
      [`POST ${base}/refunds`]: guarded((request) => {
        const body = jsonOf(request);
        const wanted = { id: text(body, "id"), paymentId: text(body, "payment_id"), ...amount(body) };
        const { refund, payment, fresh } = books.giveBack(wanted);
        if (fresh) tell(outgoing, books.checkout(payment.checkoutId), "refund.completed", payment, refund);
        return { status: 201, json: { id: refund.id, state: refund.state } };
      }),
      [`GET ${base}/refunds/:id`]: guarded(({ params }) => {
        const refund = books.refund(params.id ?? "");
        if (!refund) throw new WebError(404, "There is no such refund.");
        return { json: { id: refund.id, state: refund.state } };
      }),
      [`GET ${base}/payments`]: guarded(({ query }) => ({
        json: {
          items: books
            .paymentsOfOrder(query.get("order_id") ?? "")
            .map(({ id, amountMinor, currency, refundedMinor }) => ({
              payment_id: id,
              amount_minor: amountMinor,
              currency,
              refunded_minor: refundedMinor,
            })),
        },
      })),
      [`GET ${base}`]: () =>
        checkoutsPage(
          base,
          books
            .newestCheckouts(CHECKOUTS_SHOWN)
            .map((checkout) => ({ checkout, payments: books.paymentsOf(checkout.id) })),
        ),
      [`GET ${base}/checkout/:id`]: ({ params }) => view(books.checkout(params.id)),
      [`POST ${base}/checkout/:id`]: ({ params, body }) => {
        const checkout = books.checkout(params.id);
        const problem = act(books, outgoing, checkout, new URLSearchParams(body));
        return problem ? view(checkout, problem) : { location: `${base}/checkout/${checkout.id}` };
      },
    },
  };
}

/** The payment system as a program of its own. */
export async function startPaymentSystem(
  options: Omit<PaymentSystemOptions, "base" | "publicUrl"> & { host: string; port: number },
) {
  let url = "";
  const system = paymentSystem({ ...options, base: "", publicUrl: () => url });
  const server = await serve(system.routes, options);
  url = server.url;
  return {
    url,
    async stop() {
      await server.stop();
      system.stop();
    },
  };
}

/** Does what the customer's button says. @returns what is wrong with the form */
function act(
  books: Ledger,
  outgoing: Reports,
  checkout: Checkout,
  form: URLSearchParams,
): string | undefined {
  const paidMinor = books.paymentsOf(checkout.id).reduce((sum, { amountMinor }) => sum + amountMinor, 0);
  const openMinor = checkout.amountMinor - paidMinor;
  const pay = (amountMinor: number) =>
    tell(outgoing, checkout, "payment.succeeded", books.pay(checkout, amountMinor));
  switch (form.get("action")) {
    case "pay":
      // A second click on the button of a page that is out of date pays nothing more.
      if (openMinor > 0) pay(openMinor);
      return undefined;
    case "pay_twice":
      pay(checkout.amountMinor);
      pay(checkout.amountMinor);
      return undefined;
    case "underpay": {
      const amountMinor = minorOf(form.get("amount") ?? "", checkout.currency);
      if (amountMinor === undefined)
        return `Write an amount such as 1${minorUnitDigits(checkout.currency) ? ".50" : "50"}.`;
      pay(amountMinor);
      return undefined;
    }
    case "decline":
      books.decline(checkout);
      tell(outgoing, checkout, "payment.failed", {
        id: `declined-${checkout.id}-${checkout.declined}`,
        amountMinor: Math.max(1, openMinor),
      });
      return undefined;
    case "repeat":
      outgoing.repeat(form.get("event") ?? "");
      return undefined;
    default:
      return "Choose one of the buttons.";
  }
}

function tell(
  outgoing: Reports,
  { id: checkoutId, orderId, currency, callbackUrl: url }: Checkout,
  type: string,
  payment: Pick<Payment, "id" | "amountMinor">,
  refund?: { id: string; amountMinor: number },
): void {
  outgoing.send({ url, checkoutId }, type, {
    payment_id: payment.id,
    order_id: orderId,
    amount_minor: refund?.amountMinor ?? payment.amountMinor,
    currency,
    ...(refund && { refund_id: refund.id }),
  });
}

function wantedCheckout(request: WebRequest): Omit<Checkout, "id" | "declined"> {
  const body = jsonOf(request);
  const key = request.headers["idempotency-key"];
  if (typeof key !== "string" || !key) throw new WebError(400, "Idempotency-Key is missing.");
  const returnUrl = body.return_url === undefined ? undefined : webUrl(body, "return_url");
  return {
    idempotencyKey: key,
    orderId: text(body, "order_id"),
    ...amount(body),
    currency: currencyOf(body),
    description: text(body, "description"),
    callbackUrl: webUrl(body, "callback_url"),
    ...(returnUrl && { returnUrl }),
  };
}

function text(body: Record<string, unknown>, name: string, max = TEXT_MAX): string {
  const value = body[name];
  if (typeof value !== "string" || !value || value.length > max) throw new WebError(422, `${name} is wrong.`);
  return value;
}

function currencyOf({ currency }: Record<string, unknown>): string {
  if (!isCurrency(currency)) throw new WebError(422, "currency is wrong.");
  return currency;
}

function webUrl(body: Record<string, unknown>, name: string): string {
  const value = text(body, name, URL_MAX);
  if (!URL.canParse(value) || !/^https?:$/.test(new URL(value).protocol)) {
    throw new WebError(422, `${name} is no web address.`);
  }
  return value;
}

function amount(body: Record<string, unknown>): { amountMinor: number } {
  const value = body.amount_minor;
  if (!Number.isSafeInteger(value) || (value as number) <= 0)
    throw new WebError(422, "amount_minor is wrong.");
  return { amountMinor: value as number };
}

/** What a person typed, in minor units; undefined when it is no amount above nothing. */
function minorOf(typed: string, currency: string): number | undefined {
  const digits = minorUnitDigits(currency);
  const match = /^(\d{1,9})(?:[.,](\d{1,4}))?$/.exec(typed.trim());
  if (!match || (match[2]?.length ?? 0) > digits) return undefined;
  const minor = Number(match[1]) * 10 ** digits + Number((match[2] ?? "").padEnd(digits, "0") || 0);
  return minor > 0 ? minor : undefined;
}

function sameSecret(given: string, wanted: string): boolean {
  const hash = (secret: string) => createHash("sha256").update(secret).digest();
  return timingSafeEqual(hash(given), hash(wanted));
}
