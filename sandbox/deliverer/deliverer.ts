import { ApiError, answered, type Schemas, type Waybill, waybill } from "@waybill/client";
import { page } from "../layout.ts";
import { html, jsonOf, type Routes, WebError } from "../web.ts";

const POLL_MS = 1_000;
const SIGN_IN_AGAIN_MS = 5_000;
const STEP_MS = 1_000;
const STEPS = 5;
/** Who carries so many waits for their PINs before they take more. */
const CARRIED_MAX = 20;
/** Then nobody is at the door. */
const PATIENCE_MS = 30 * 60_000;
const DONE_MAX = 100;

type Position = Schemas["Position"];

interface Ride {
  orderId: string;
  from: string;
  to: string;
  path: Position[];
  state: "riding" | "at the door" | "delivered" | "gone";
  sinceMs: number;
}

export interface DelivererOptions {
  base: string;
  apiUrl: string;
  carriesFor: (partnerId: string) => boolean;
}

export interface Deliverer {
  routes: Routes;
  /** Begins to work. */
  start(credentials: { email: string; password: string }): void;
  stop(): Promise<void>;
}

/**
 * A deliverer: watches the pool, claims what is ready, rides there and reports where they are. At the door they
 * wait until somebody tells them the PIN, on their page or by `POST <base>/orders/{id}/pin`.
 * @param carriesFor whether they carry for this partner; orders of others are left to other deliverers
 */
export function deliverer({ base, apiUrl, carriesFor }: DelivererOptions): Deliverer {
  const rides = new Map<string, Ride>();
  const stopping = new AbortController();
  let session: Waybill | undefined;
  let working: Promise<void> | undefined;
  let onDuty = true;

  const waiting = () =>
    [...rides.values()].filter(({ state }) => state === "riding" || state === "at the door");

  async function work(credentials: { email: string; password: string }): Promise<void> {
    while (!stopping.signal.aborted) {
      try {
        if (!session) {
          const entering = waybill({ url: apiUrl });
          await entering.signIn(credentials);
          session = entering;
          await resume(session);
        }
        await advance(session);
        if (onDuty && waiting().length < CARRIED_MAX) await claimNext(session);
      } catch (error) {
        if ((error as ApiError).status === 401) session = undefined;
      }
      await pause(session ? POLL_MS : SIGN_IN_AGAIN_MS, stopping.signal);
    }
  }

  /** What was carried when the program ended is carried on. */
  async function resume(as: Waybill): Promise<void> {
    const query = { status: "delivering", limit: 100 } as const;
    const { items } = await answered(as.GET("/orders", { params: { query } }));
    for (const order of items) carry(order);
  }

  async function claimNext(as: Waybill): Promise<void> {
    const { items } = await answered(as.GET("/deliveries/available", { params: { query: { limit: 100 } } }));
    for (const { order_id: id } of items.filter(({ partner_id }) => carriesFor(partner_id))) {
      try {
        const params = { path: { order_id: id } };
        carry(await answered(as.POST("/orders/{order_id}/assign", { params })));
      } catch (error) {
        // Somebody was quicker, or it is no longer there to be had.
        if (!(error instanceof ApiError) || error.status === 0 || error.status >= 500) throw error;
      }
    }
  }

  function carry(order: Schemas["Order"]): void {
    if (rides.size >= DONE_MAX) {
      for (const [id, { state }] of rides) if (state === "delivered" || state === "gone") rides.delete(id);
    }
    rides.set(order.id, {
      orderId: order.id,
      from: `${order.partner.title}, ${order.partner.pickup.line1}`,
      to: `${order.address.line1}, ${order.address.city}`,
      path: pathBetween(order.partner.pickup.position, order.address.position),
      state: "riding",
      sinceMs: Date.now(),
    });
  }

  /** One report of each ride, at the place where it is by now. */
  async function advance(as: Waybill): Promise<void> {
    for (const ride of waiting()) {
      const step = Math.min(STEPS, Math.floor((Date.now() - ride.sinceMs) / STEP_MS));
      const body = ride.path[step];
      const params = { path: { order_id: ride.orderId } };
      try {
        if (ride.state === "riding" && body) await as.POST("/orders/{order_id}/location", { params, body });
        if (step === STEPS) ride.state = "at the door";
        if (Date.now() - ride.sinceMs > PATIENCE_MS) {
          const reason = "Nobody told the PIN at the door.";
          await as.POST("/orders/{order_id}/fail", { params, body: { reason } });
          ride.state = "gone";
        }
      } catch (error) {
        if (!(error instanceof ApiError) || error.status < 403 || error.status >= 429) throw error;
        ride.state = "gone";
      }
    }
  }

  /** Hands over at the door. @throws WebError with the API's answer */
  async function handOver(id: string, pin: string): Promise<void> {
    const ride = rides.get(id);
    if (!ride || !session) throw new WebError(404, "This order is not with the deliverer.");
    try {
      await session.POST("/orders/{order_id}/deliver", { params: { path: { order_id: id } }, body: { pin } });
    } catch (error) {
      const { status, message } = error as ApiError;
      throw new WebError(status || 503, message);
    }
    ride.state = "delivered";
  }

  return {
    start(credentials) {
      working ??= work(credentials);
    },
    async stop() {
      stopping.abort();
      await working;
    },
    routes: {
      [`GET ${base}.json`]: () => ({
        json: {
          on_duty: onDuty,
          rides: [...rides.values()].map(({ orderId, state }) => ({ order_id: orderId, state })),
        },
      }),
      [`POST ${base}/orders/:id/pin`]: async (request) => {
        await handOver(request.params.id ?? "", String(jsonOf(request).pin ?? ""));
        return { json: { state: "delivered" } };
      },
      [`POST ${base}`]: async ({ body }) => {
        const form = new URLSearchParams(body);
        const duty = form.get("duty");
        if (duty) onDuty = duty === "on";
        const order = form.get("order");
        if (!order) return { location: base };
        try {
          await handOver(order, form.get("pin") ?? "");
        } catch (error) {
          return ridesPage(base, [...rides.values()], onDuty, (error as Error).message);
        }
        return { location: base };
      },
      [`GET ${base}`]: () => ridesPage(base, [...rides.values()], onDuty),
    },
  };
}

/** From one place to another in even steps; none where one of them is not known. */
function pathBetween(from: Position | undefined, to: Position | undefined): Position[] {
  if (!from || !to) return [];
  return Array.from({ length: STEPS + 1 }, (_, step) => ({
    latitude: between(from.latitude, to.latitude, step / STEPS),
    longitude: between(from.longitude, to.longitude, step / STEPS),
  }));
}

function between(from: number, to: number, share: number): number {
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

function ridesPage(base: string, rides: Ride[], onDuty: boolean, problem?: string) {
  return page({
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
${rides.reverse().map(
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
${rides.length === 0 ? html`<p>No delivery yet. Orders appear here once they are paid and ready at a kitchen.</p>` : ""}`,
  });
}
