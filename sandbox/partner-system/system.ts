import { html } from "hono/html";
import { Webhook } from "standardwebhooks";
import { type Page, sendPage, timeText } from "../layout.ts";
import { httpError, newRoutes, type Routes, textOf } from "../web.ts";

const CALL_TIMEOUT_MS = 5_000;
const WAITS_MS = [300, 1_000, 3_000, 10_000, 30_000, 60_000];
const ORDERS_MAX = 500;
/** Webhooks are repeated for three days at most. The sandbox runs for hours, so it keeps the newest ids. */
const IDS_MAX = 5_000;
const DELAY_MS = 60_000;

/** The kitchen of one partner. */
export interface Kitchen {
  partnerId: string;
  title: string;
  /** Secret for the signatures in both directions: `whsec_<base64>`. */
  secret: string;
}

interface Ticket {
  orderId: string;
  partnerId: string;
  lines: { title: string; quantity: number }[];
  note: string;
  callbackUrl: string;
  state: "received" | "accepted" | "ready" | "rejected" | "cancelled" | "delivered" | "failed";
  /** The highest version of the order that an event had. */
  version: number;
  /** The callback that the platform did not accept, with its answer. */
  trouble?: string;
  at: string;
}

interface WebhookEvent {
  id: string;
  type: string;
  data: { order_id: string; version: number };
}

interface PaidOrder {
  order_id: string;
  version: number;
  lines: { title: string; quantity: number }[];
  note?: string;
  callback_url: string;
}

export interface PartnerSystem {
  routes: Routes;
  /** Adds a kitchen, or replaces its secret. */
  open(kitchen: Kitchen): void;
  /** Path of a partner's webhook endpoint. */
  pathOf(partnerId: string): string;
  stop(): void;
}

/** The events after which there is nothing left to prepare. */
const ENDS = {
  "order.cancelled": "cancelled",
  "order.rejected": "rejected",
  "order.delivered": "delivered",
  "order.failed": "failed",
} as const;

/**
 * Simulates the systems of partners, by the rules of docs/partners.md: receives signed orders, accepts them, and reports them ready after a while. With the
 * word "reject" in the note it rejects the order, with "delay" it first reports a delay.
 * @param preparationMs time between acceptance and readiness
 */
export function partnerSystem({
  base,
  preparationMs,
}: {
  base: string;
  preparationMs: number;
}): PartnerSystem {
  const kitchens = new Map<string, Kitchen>();
  const tickets = new Map<string, Ticket>();
  const seen = new Set<string>();
  const timers = new Set<NodeJS.Timeout>();
  let stopped = false;

  function after(waitMs: number, work: () => void): void {
    if (stopped) return;
    const timer = setTimeout(() => {
      timers.delete(timer);
      work();
    }, waitMs);
    timers.add(timer.unref());
  }

  /** Sends a callback and retries until the platform accepts it. @returns whether the platform accepted it */
  async function sendCallback(ticket: Ticket, type: string, more: object = {}, tries = 0): Promise<boolean> {
    const kitchen = kitchens.get(ticket.partnerId);
    if (!kitchen || stopped) return false;
    const id = `${ticket.orderId}.${type}`;
    const data = { order_id: ticket.orderId, ...more };
    const body = JSON.stringify({ type, timestamp: new Date().toISOString(), data });
    const status = await post(ticket.callbackUrl, id, body, kitchen.secret);
    if (status >= 200 && status < 300) return true;
    const waitMs = WAITS_MS[tries];
    // The platform refused the callback, which no repeat changes, or this was the last one.
    if (!isWorthRepeating(status) || waitMs === undefined) {
      ticket.trouble = `${type}: ${status ? `status ${status}` : "no answer"}`;
      return false;
    }
    return new Promise((resolve) => {
      after(waitMs, () => resolve(sendCallback(ticket, type, more, tries + 1)));
    });
  }

  async function prepare(ticket: Ticket): Promise<void> {
    if (/\breject/i.test(ticket.note)) {
      if (await sendCallback(ticket, "order.rejected", { reason: "The note asked for it." }))
        ticket.state = "rejected";
      return;
    }
    const readyAt = (inMs: number) => new Date(Date.now() + inMs).toISOString();
    if (!(await sendCallback(ticket, "order.accepted", { ready_at: readyAt(preparationMs + 1_000) }))) return;
    // The order may have ended meanwhile.
    if (ticket.state !== "received") return;
    ticket.state = "accepted";
    const delayed = /\bdelay/i.test(ticket.note);
    if (delayed) {
      await sendCallback(ticket, "order.delayed", {
        ready_at: readyAt(DELAY_MS),
        reason: "The note asked for it.",
      });
    }
    after(delayed ? DELAY_MS : preparationMs, async () => {
      if (!isAccepted(ticket)) return;
      if ((await sendCallback(ticket, "order.ready")) && isAccepted(ticket)) ticket.state = "ready";
    });
  }

  function receive(partnerId: string, { id, type, data }: WebhookEvent): void {
    if (seen.has(id)) return; // a repeat
    add(seen, id, IDS_MAX);
    if (type === "order.paid") {
      if (tickets.has(data.order_id)) return;
      const ticket = ticketOf(partnerId, data as PaidOrder);
      if (tickets.size >= ORDERS_MAX) tickets.delete(tickets.keys().next().value as string);
      tickets.set(ticket.orderId, ticket);
      void prepare(ticket);
      return;
    }
    const ticket = tickets.get(data.order_id);
    // An event that a newer one has overtaken has no effect, and neither has an unknown type.
    if (!ticket || data.version <= ticket.version) return;
    ticket.version = data.version;
    if (Object.hasOwn(ENDS, type)) ticket.state = ENDS[type as keyof typeof ENDS];
  }

  return {
    open: (kitchen) => void kitchens.set(kitchen.partnerId, kitchen),
    pathOf: (partnerId) => `${base}/webhooks/${partnerId}`,
    stop() {
      stopped = true;
      for (const timer of timers) clearTimeout(timer);
    },
    routes: newRoutes()
      .post(`${base}/webhooks/:id`, async (c) => {
        const kitchen = kitchens.get(c.req.param("id"));
        if (!kitchen) throw httpError(404, "There is no such partner here.");
        const event = verified(kitchen.secret, c.req.header(), await textOf(c));
        receive(kitchen.partnerId, event);
        return c.body(null, 204);
      })
      .get(base, (c) => sendPage(c, ordersPage([...tickets.values()].reverse(), kitchens))),
  };
}

function isAccepted({ state }: Ticket): boolean {
  return state === "accepted";
}

function ticketOf(partnerId: string, order: PaidOrder): Ticket {
  const { order_id: orderId, version, lines, note = "", callback_url: callbackUrl } = order;
  const at = new Date().toISOString();
  return { orderId, partnerId, lines, note, callbackUrl, state: "received", version, at };
}

function add(set: Set<string>, value: string, max: number): void {
  if (set.size >= max) set.delete(set.values().next().value as string);
  set.add(value);
}

/** No answer, too many requests, or a failure of the platform. Every other status is final. */
function isWorthRepeating(status: number): boolean {
  return status === 0 || status === 429 || status >= 500;
}

function verified(secret: string, headers: Record<string, string>, body: string): WebhookEvent {
  try {
    return new Webhook(secret).verify(body, headers) as WebhookEvent;
  } catch {
    throw httpError(401, "The signature is not valid.");
  }
}

/** @returns the status; 0 without an answer */
async function post(url: string, id: string, body: string, secret: string): Promise<number> {
  const at = new Date();
  try {
    const response = await fetch(url, {
      method: "POST",
      redirect: "manual",
      headers: {
        "content-type": "application/json",
        "webhook-id": id,
        "webhook-timestamp": String(Math.floor(at.getTime() / 1000)),
        "webhook-signature": new Webhook(secret).sign(id, at, body),
      },
      body,
      signal: AbortSignal.timeout(CALL_TIMEOUT_MS),
    });
    await response.arrayBuffer();
    return response.status;
  } catch {
    return 0;
  }
}

function ordersPage(tickets: Ticket[], kitchens: ReadonlyMap<string, Kitchen>): Page {
  return {
    title: "Orders",
    of: "Kitchen",
    home: "/",
    refreshSeconds: 2,
    body: html`<h1>Orders that came in</h1>
<p class="quiet">Newest first. There is nothing to do here: each order is accepted at once and ready a moment later. To see
something else, order with a note: with the word “reject” the kitchen declines, with “delay” it takes a minute longer.</p>
${tickets.map(
  ({ orderId, partnerId, lines, note, state, trouble, at }) => html`<article class="card">
<strong>${kitchens.get(partnerId)?.title ?? partnerId}</strong> · ${state}
<ul>${lines.map(({ title, quantity }) => html`<li>${quantity} × ${title}</li>`)}</ul>
${note ? html`<p>“${note}”</p>` : ""}
${trouble ? html`<p class="warn">${trouble}</p>` : ""}
<p class="quiet small">order ${orderId} · ${timeText(at)}</p></article>`,
)}
${tickets.length === 0 ? html`<p>No order yet. An order comes to its kitchen once it is paid.</p>` : ""}`,
  };
}
