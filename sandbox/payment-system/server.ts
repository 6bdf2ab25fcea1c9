import { createHash, timingSafeEqual } from "node:crypto";
import type { Context, MiddlewareHandler } from "hono";
import { isCurrency, minorUnitDigits } from "../../lib/money.ts";
import { sendPage } from "../layout.ts";
import { type Environment, formOf, httpError, jsonOf, newRoutes, type Routes, serve } from "../web.ts";
import { type Checkout, type Ledger, openLedger, type Payment } from "./ledger.ts";
import { checkoutPage, checkoutsPage } from "./pages.ts";
import { type Reports, reportSender } from "./reports.ts";

const TEXT_MAX = 200;
const CHECKOUTS_SHOWN = 50;
const URL_MAX = 2_048;

export interface PaymentSystemOptions {
  /** Base path of the routes. */
  base: string;
  /** Returns the own URL, `http://host:port`. */
  publicUrl: () => string;
  /** API key of the merchants. */
  apiKey: string;
  /** Secret for the signatures of reports: `whsec_<base64>`. */
  webhookSecret: string;
  /** File of the ledger. Default: in memory only. */
  file?: string;
}

/**
 * Simulates a bank: an API for merchants, checkout pages for their customers, and signed reports. It uses nothing of Waybill
 * except what a merchant sends.
 */
export function paymentSystem(options: PaymentSystemOptions): { routes: Routes; stop(): void } {
  const { base, publicUrl } = options;
  const ledger = openLedger(options.file);
  const reports = reportSender(options.webhookSecret);
  const page = (checkout: Checkout, problem?: string) =>
    checkoutPage({
      base,
      checkout,
      payments: ledger.paymentsOf(checkout.id),
      reports: reports.of(checkout.id),
      ...(problem && { problem }),
    });
  const merchant: MiddlewareHandler = async (c, next) => {
    if (!sameSecret(c.req.header("authorization") ?? "", `Bearer ${options.apiKey}`)) {
      throw httpError(401, "The API key is missing or wrong.");
    }
    await next();
  };

  return {
    stop() {
      reports.stop();
      ledger.close();
    },
    routes: newRoutes()
      .post(`${base}/checkouts`, merchant, async (c) => {
        const checkout = ledger.openCheckout(await checkoutRequest(c));
        return c.json({ id: checkout.id, url: `${publicUrl()}${base}/checkout/${checkout.id}` }, 201);
      })
      .post(`${base}/refunds`, merchant, async (c) => {
        const body = await jsonOf(c);
        const wanted = { id: text(body, "id"), paymentId: text(body, "payment_id"), ...amount(body) };
        const { refund, payment, isNew } = ledger.addRefund(wanted);
        if (isNew)
          sendReport(reports, ledger.checkout(payment.checkoutId), "refund.completed", payment, refund);
        return c.json({ id: refund.id, state: refund.state }, 201);
      })
      .get(`${base}/refunds/:id`, merchant, (c) => {
        const refund = ledger.refund(c.req.param("id"));
        if (!refund) throw httpError(404, "There is no such refund.");
        return c.json({ id: refund.id, state: refund.state });
      })
      .get(`${base}/payments`, merchant, (c) => {
        const items = ledger
          .paymentsOfOrder(c.req.query("order_id") ?? "")
          .map(({ id, amountMinor, currency, refundedMinor }) => ({
            payment_id: id,
            amount_minor: amountMinor,
            currency,
            refunded_minor: refundedMinor,
          }));
        return c.json({ items });
      })
      .get(base, (c) => {
        const newest = ledger.newestCheckouts(CHECKOUTS_SHOWN);
        const found = newest.map((checkout) => ({ checkout, payments: ledger.paymentsOf(checkout.id) }));
        return sendPage(c, checkoutsPage(base, found));
      })
      .get(`${base}/checkout/:id`, (c) => sendPage(c, page(ledger.checkout(c.req.param("id")))))
      .post(`${base}/checkout/:id`, async (c) => {
        const checkout = ledger.checkout(c.req.param("id"));
        const problem = applyAction(ledger, reports, checkout, await formOf(c));
        if (problem) return sendPage(c, page(checkout, problem));
        return c.redirect(`${base}/checkout/${checkout.id}`, 303);
      }),
  };
}

/** Starts the payment system with its own HTTP server. */
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

/** Applies the action of the submitted form. @returns the error in the form, if any */
function applyAction(
  ledger: Ledger,
  reports: Reports,
  checkout: Checkout,
  form: URLSearchParams,
): string | undefined {
  const paidMinor = ledger.paymentsOf(checkout.id).reduce((sum, { amountMinor }) => sum + amountMinor, 0);
  const openMinor = checkout.amountMinor - paidMinor;
  const pay = (amountMinor: number) =>
    sendReport(reports, checkout, "payment.succeeded", ledger.pay(checkout, amountMinor));
  switch (form.get("action")) {
    case "pay":
      // A second click on an outdated page must not pay again.
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
      ledger.decline(checkout);
      sendReport(reports, checkout, "payment.failed", {
        id: `declined-${checkout.id}-${checkout.declined}`,
        amountMinor: Math.max(1, openMinor),
      });
      return undefined;
    case "repeat":
      reports.repeat(form.get("event") ?? "");
      return undefined;
    default:
      return "Choose one of the buttons.";
  }
}

function sendReport(
  reports: Reports,
  { id: checkoutId, orderId, currency, callbackUrl: url }: Checkout,
  type: string,
  payment: Pick<Payment, "id" | "amountMinor">,
  refund?: { id: string; amountMinor: number },
): void {
  reports.send({ url, checkoutId }, type, {
    payment_id: payment.id,
    order_id: orderId,
    amount_minor: refund?.amountMinor ?? payment.amountMinor,
    currency,
    ...(refund && { refund_id: refund.id }),
  });
}

async function checkoutRequest(c: Context<Environment>): Promise<Omit<Checkout, "id" | "declined">> {
  const body = await jsonOf(c);
  const key = c.req.header("idempotency-key");
  if (!key) throw httpError(400, "Idempotency-Key is missing.");
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
  if (typeof value !== "string" || !value || value.length > max) throw httpError(422, `${name} is wrong.`);
  return value;
}

function currencyOf({ currency }: Record<string, unknown>): string {
  if (!isCurrency(currency)) throw httpError(422, "currency is wrong.");
  return currency;
}

function webUrl(body: Record<string, unknown>, name: string): string {
  const value = text(body, name, URL_MAX);
  if (!URL.canParse(value) || !/^https?:$/.test(new URL(value).protocol)) {
    throw httpError(422, `${name} is no web address.`);
  }
  return value;
}

function amount(body: Record<string, unknown>): { amountMinor: number } {
  const value = body.amount_minor;
  if (!Number.isSafeInteger(value) || (value as number) <= 0) throw httpError(422, "amount_minor is wrong.");
  return { amountMinor: value as number };
}

/** Parses a typed amount into minor units; undefined when it is not a positive amount. */
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
