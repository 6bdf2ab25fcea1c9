import { html } from "hono/html";
import { decimalText } from "../../lib/money.ts";
import { amountText, type Page } from "../layout.ts";
import type { Html } from "../web.ts";
import type { Checkout, Payment } from "./ledger.ts";
import type { Report } from "./reports.ts";

const HEADER = "Sandbox Pay";

export interface CheckoutView {
  base: string;
  checkout: Checkout;
  payments: readonly Payment[];
  reports: readonly Report[];
  /** Error in the submitted form. */
  problem?: string;
}

/** The checkout page of a customer, which also shows the result. */
export function checkoutPage(view: CheckoutView): Page {
  const { checkout, payments, reports, problem } = view;
  const { currency } = checkout;
  const paidMinor = payments.reduce((sum, { amountMinor }) => sum + amountMinor, 0);
  const openMinor = Math.max(0, checkout.amountMinor - paidMinor);
  const waiting = reports.some(({ state }) => state === "waiting");
  return {
    title: openMinor > 0 ? `Pay ${amountText(openMinor, currency)}` : "Paid",
    of: HEADER,
    narrow: true,
    status: problem ? 422 : 200,
    ...(waiting && { refreshSeconds: 2 }),
    body: html`<h1>${openMinor > 0 ? "Pay for your order" : "Thank you"}</h1>
<section class="card" aria-label="Amount">
<p class="quiet">${checkout.description}</p>
<p class="amount">${amountText(openMinor > 0 ? openMinor : paidMinor, currency)}</p>
<p class="quiet small">${openMinor > 0 ? stillOpen(paidMinor, currency) : "paid"} · order ${checkout.orderId}</p>
</section>
${problem ? html`<p class="card notice warn" role="alert">${problem}</p>` : ""}
${statusOf(view)}
${openMinor > 0 ? form(view, openMinor) : ""}
${checkout.returnUrl ? html`<p><a href="${checkout.returnUrl}">Back to the shop</a></p>` : ""}
${reportsTable(view)}`,
  };
}

/** The list of all checkouts with a link to each. */
export function checkoutsPage(
  base: string,
  found: readonly { checkout: Checkout; payments: readonly Payment[] }[],
): Page {
  return {
    title: "Checkouts",
    of: HEADER,
    home: "/",
    body: html`<h1>Checkouts</h1>
<p class="quiet">Newest first. Open one to pay it, decline it or pay too little, and to see what the shop was told.</p>
${found.map(({ checkout, payments }) => {
  const { id, amountMinor, currency, description, declined } = checkout;
  const state = payments.length > 0 ? "paid" : declined > 0 ? "declined" : "to pay";
  return html`<article class="card"><a href="${base}/checkout/${id}"><strong>${amountText(amountMinor, currency)}</strong></a> · ${state}
<p>${description}</p><p class="quiet small">order ${checkout.orderId}</p></article>`;
})}
${found.length === 0 ? html`<p>No checkout yet. Confirming an order opens one.</p>` : ""}`,
  };
}

function stillOpen(paidMinor: number, currency: string): string {
  return paidMinor > 0 ? `still to pay; ${amountText(paidMinor, currency)} came already` : "to pay";
}

function statusOf({ checkout, payments }: CheckoutView): Html {
  const lines = payments.map(
    ({ amountMinor, refundedMinor, currency }) =>
      html`<li class="good">Paid ${amountText(amountMinor, currency)}${
        refundedMinor > 0
          ? html` <span class="warn">of which ${amountText(refundedMinor, currency)} went back</span>`
          : ""
      }</li>`,
  );
  const declined = checkout.declined > 0 && payments.length === 0;
  if (lines.length === 0 && !declined) return html``;
  return html`<section class="card notice" role="status" id="status"><ul>${lines}${
    declined
      ? html`<li class="warn">The payment was declined. Nothing was taken; you can try again.</li>`
      : ""
  }</ul></section>`;
}

function form({ base, checkout }: CheckoutView, openMinor: number): Html {
  const { currency } = checkout;
  const half = decimalText({ amountMinor: Math.max(1, Math.floor(openMinor / 2)), currency });
  return html`<p class="quiet">No card is needed: the buttons say what the customer does.</p>
<form method="post" action="${base}/checkout/${checkout.id}">
<button class="primary" name="action" value="pay">Pay ${amountText(openMinor, currency)}</button>
<button name="action" value="decline">Decline</button>
</form>
<details><summary>What else can happen</summary>
<form method="post" action="${base}/checkout/${checkout.id}">
<button name="action" value="pay_twice">Pay twice</button>
</form>
<form method="post" action="${base}/checkout/${checkout.id}">
<label for="amount">Another amount in ${currency}</label>
<div class="row"><input id="amount" name="amount" inputmode="decimal" value="${half}" autocomplete="off" required>
<button name="action" value="underpay">Pay this</button></div>
</form></details>`;
}

function reportsTable({ base, checkout, reports }: CheckoutView): Html {
  if (reports.length === 0) return html``;
  return html`<h2>What the shop was told</h2>
<table><thead><tr><th>Event</th><th>Answer</th><th><span class="quiet">Again</span></th></tr></thead><tbody>
${reports.map(
  ({ id, type, state, status, tries }) => html`<tr><td>${type}</td>
<td>${state === "accepted" ? `accepted (${status})` : `${state}, ${status ?? "no answer"} after ${tries}`}</td>
<td><form method="post" action="${base}/checkout/${checkout.id}"><input type="hidden" name="event" value="${id}">
<button name="action" value="repeat">Repeat</button></form></td></tr>`,
)}
</tbody></table>`;
}
