import { ApiError, answered, type Schemas, type Waybill, waybill } from "@waybill/client";
import { html } from "hono/html";
import { type Page, sendPage } from "../layout.ts";
import { formOf, httpError, jsonOf, newRoutes, type Routes } from "../web.ts";

const POLL_MS = 1_000;
const SIGN_IN_AGAIN_MS = 5_000;
const STEP_MS = 1_000;
const STEPS = 5;
/** A deliverer with this many active deliveries is assigned no further order. */
const ACTIVE_DELIVERIES_MAX = 20;
/** After this time without a PIN, the delivery fails. */
const DOOR_TIMEOUT_MS = 30 * 60_000;
const DELIVERIES_MAX = 100;

type Position = Schemas["Position"];

interface Delivery {
  orderId: string;
  number?: string | undefined;
  pickedUp: boolean;
  from: string;
  to: string;
  path: Position[];
  state: "riding" | "at the door" | "delivered" | "gone";
  sinceMs: number;
}

export interface DelivererOptions {
  base: string;
  apiUrl: string;
  /** Whether the deliverer takes orders of this partner. Other deliverers take the others. */
  carriesFor: (partnerId: string) => boolean;
}

export interface Deliverer {
  routes: Routes;
  /** Signs in and starts to assign itself orders and to deliver them. */
  start(credentials: { email: string; password: string }): void;
  stop(): Promise<void>;
}

/**
 * Simulates a deliverer: polls the pool, assigns itself ready orders and reports positions on the way. At the door the deliverer
 * waits for the PIN, entered on the page or sent by `POST <base>/orders/{id}/pin`.
 */
export function deliverer({ base, apiUrl, carriesFor }: DelivererOptions): Deliverer {
  const deliveries = new Map<string, Delivery>();
  const stopping = new AbortController();
  let session: Waybill | undefined;
  let working: Promise<void> | undefined;
  let onDuty = true;

  const activeDeliveries = () =>
    [...deliveries.values()].filter(({ state }) => state === "riding" || state === "at the door");

  async function work(credentials: { email: string; password: string }): Promise<void> {
    while (!stopping.signal.aborted) {
      try {
        if (!session) {
          const client = waybill({ url: apiUrl });
          await client.signIn(credentials);
          session = client;
          await resume(session);
        }
        await advance(session);
        if (onDuty && activeDeliveries().length < ACTIVE_DELIVERIES_MAX) await assignOrders(session);
      } catch (error) {
        if ((error as ApiError).status === 401) session = undefined;
      }
      await pause(session ? POLL_MS : SIGN_IN_AGAIN_MS, stopping.signal);
    }
  }

  /** Continues the deliveries that were active when the program ended. */
  async function resume(as: Waybill): Promise<void> {
    const query = { status: "delivering", limit: 100 } as const;
    const { items } = await answered(as.GET("/orders", { params: { query } }));
    for (const order of items) carry(order);
  }

  async function assignOrders(as: Waybill): Promise<void> {
    const { items } = await answered(as.GET("/deliveries/available", { params: { query: { limit: 100 } } }));
    for (const { order_id: id } of items.filter(({ partner_id }) => carriesFor(partner_id))) {
      try {
        const params = { path: { order_id: id } };
        carry(await answered(as.POST("/orders/{order_id}/assign", { params })));
      } catch (error) {
        // The order is assigned to another deliverer, or it has left the pool.
        if (!(error instanceof ApiError) || error.status === 0 || error.status >= 500) throw error;
      }
    }
  }

  function carry(order: Schemas["Order"]): void {
    if (deliveries.size >= DELIVERIES_MAX) {
      for (const [id, { state }] of deliveries)
        if (state === "delivered" || state === "gone") deliveries.delete(id);
    }
    deliveries.set(order.id, {
      orderId: order.id,
      number: order.number,
      pickedUp: order.picked_up_at !== undefined,
      from: `${order.partner.title}, ${order.partner.pickup.line1}`,
      to: `${order.address.line1}, ${order.address.city}`,
      path: routeBetween(order.partner.pickup.position, order.address.position),
      state: "riding",
      sinceMs: Date.now(),
    });
  }

  /** Reports the present position of each active delivery. */
  async function advance(as: Waybill): Promise<void> {
    for (const delivery of activeDeliveries()) {
      const step = Math.min(STEPS, Math.floor((Date.now() - delivery.sinceMs) / STEP_MS));
      const body = delivery.path[step];
      const params = { path: { order_id: delivery.orderId } };
      try {
        if (delivery.state === "riding" && body)
          await as.POST("/orders/{order_id}/location", { params, body });
        if (delivery.number && !delivery.pickedUp) {
          await as.POST("/orders/{order_id}/pickup", { params, body: { code: delivery.number } });
          delivery.pickedUp = true;
        }
        if (step === STEPS) delivery.state = "at the door";
        if (Date.now() - delivery.sinceMs > DOOR_TIMEOUT_MS) {
          const reason = "The deliverer got no PIN at the door.";
          await as.POST("/orders/{order_id}/fail", { params, body: { reason } });
          delivery.state = "gone";
        }
      } catch (error) {
        if (!(error instanceof ApiError) || error.status < 403 || error.status >= 429) throw error;
        delivery.state = "gone";
      }
    }
  }

  /** Delivers the order with the PIN. @throws HTTPException with the API's error */
  async function handOver(id: string, pin: string): Promise<void> {
    const delivery = deliveries.get(id);
    if (!delivery || !session) throw httpError(404, "This order is not with the deliverer.");
    try {
      await session.POST("/orders/{order_id}/deliver", { params: { path: { order_id: id } }, body: { pin } });
    } catch (error) {
      const { status, message } = error as ApiError;
      throw httpError(status || 503, message);
    }
    delivery.state = "delivered";
  }

  return {
    start(credentials) {
      working ??= work(credentials);
    },
    async stop() {
      stopping.abort();
      await working;
    },
    routes: newRoutes()
      .get(`${base}.json`, (c) =>
        c.json({
          on_duty: onDuty,
          rides: [...deliveries.values()].map(({ orderId, state }) => ({ order_id: orderId, state })),
        }),
      )
      .post(`${base}/orders/:id/pin`, async (c) => {
        const { pin } = await jsonOf(c);
        await handOver(c.req.param("id"), String(pin ?? ""));
        return c.json({ state: "delivered" });
      })
      .post(base, async (c) => {
        const form = await formOf(c);
        const duty = form.get("duty");
        if (duty) onDuty = duty === "on";
        const order = form.get("order");
        if (!order) return c.redirect(base, 303);
        try {
          await handOver(order, form.get("pin") ?? "");
        } catch (error) {
          return sendPage(
            c,
            deliveriesPage(base, [...deliveries.values()], onDuty, (error as Error).message),
          );
        }
        return c.redirect(base, 303);
      })
      .get(base, (c) => sendPage(c, deliveriesPage(base, [...deliveries.values()], onDuty))),
  };
}

/** Positions between two points in even steps; empty when a position is unknown. */
function routeBetween(from: Position | undefined, to: Position | undefined): Position[] {
  if (!from || !to) return [];
  return Array.from({ length: STEPS + 1 }, (_, step) => ({
    latitude: interpolated(from.latitude, to.latitude, step / STEPS),
    longitude: interpolated(from.longitude, to.longitude, step / STEPS),
  }));
}

function interpolated(from: number, to: number, share: number): number {
  return Number((from + (to - from) * share).toFixed(6));
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener("abort", end);
  });
}

function deliveriesPage(base: string, deliveries: Delivery[], onDuty: boolean, problem?: string): Page {
  return {
    title: "Deliveries",
    of: "Courier",
    home: "/",
    ...(problem && { status: 422 }),
    body: html`<h1>Deliveries</h1>
${problem ? html`<p class="card notice warn" role="alert">${problem}</p>` : ""}
<p class="quiet">${
      onDuty
        ? "Dora is on duty: she takes every order that a kitchen of the sandbox says is ready."
        : "Dora is off duty: orders that are ready wait for another courier."
    } At the door she needs the PIN that the customer got by <a href="/mailbox">mail</a> and
<a href="/push">push</a>: enter it below to hand over.</p>
<form method="post" action="${base}"><button name="duty" value="${onDuty ? "off" : "on"}">Go ${
      onDuty ? "off" : "on"
    } duty</button></form>
${deliveries.reverse().map(
  ({ orderId, from, to, state }) => html`<article class="card"><strong>${state}</strong>
<p>${from} to ${to}</p><p class="quiet small">order ${orderId}</p>
${
  state === "riding" || state === "at the door"
    ? html`<form method="post" action="${base}"><input type="hidden" name="order" value="${orderId}">
<label for="pin-${orderId}">PIN that the customer tells</label><div class="row">
<input id="pin-${orderId}" name="pin" inputmode="numeric" pattern="[0-9]{4}" maxlength="4" autocomplete="off" required>
<button>Hand over</button></div></form>`
    : ""
}</article>`,
)}
${deliveries.length === 0 ? html`<p>No delivery yet. Orders appear here once they are paid and ready at a kitchen.</p>` : ""}`,
  };
}
