import { randomBytes } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { stripeEvent, stripeSignature } from "./stripe-events.ts";

/** `lost` does what is asked and says nothing; a number is the status of an error of Stripe's own. */
export type StripeMood = "well" | "lost" | "down" | "hangs" | "slow refunds" | number;

const HALF_AN_HOUR_SECONDS = 1_800;
/** The longest page of a list. */
const PAGE_MAX = 100;

type Fields = Record<string, unknown>;
interface Session extends Fields {
  id: string;
  payment_intent: string | null;
  payment_status: "paid" | "unpaid";
  status: "open" | "complete" | "expired";
  amount_total: number;
  currency: string;
  client_reference_id: string;
  metadata: Record<string, string>;
}
interface Intent extends Fields {
  id: string;
  amount_received: number;
  metadata: Record<string, string>;
  latest_charge: { id: string; amount_refunded: number } & Fields;
}
interface Refund extends Fields {
  id: string;
  amount: number;
  payment_intent: string;
  status: string;
  metadata: Record<string, string>;
}
interface Answer {
  status: number;
  body: Fields;
}

/**
 * Stripe as its documentation describes it, as far as a merchant with Checkout meets it: sessions, their payments,
 * refunds, idempotency keys (the same answer for the same parameters, 400 for others), and the errors' codes. The
 * customer pays by `pay`; what Stripe then reports waits in `reports`, signed.
 */
export async function startStripe({ key, secrets }: { key: string; secrets: string[] }) {
  const sessions = new Map<string, Session>();
  const intents = new Map<string, Intent>();
  const refunds = new Map<string, Refund>();
  const keys = new Map<string, { params: string; answer: Answer }>();
  const reports: { headers: Record<string, string>; body: string }[] = [];
  const asked: string[] = [];
  const idOf = (prefix: string) => `${prefix}_${randomBytes(12).toString("hex")}`;

  const report = (type: string, object: Fields) => {
    const body = stripeEvent(type, idOf("evt"), object);
    reports.push({ headers: { "stripe-signature": stripeSignature(body, secrets) }, body });
  };

  const server = createServer((request, response) => {
    readText(request)
      .then((text) => serve(request, response, text))
      .catch(() => response.destroy());
  });
  const stripe = {
    mood: "well" as StripeMood,
    url: "",
    /** Every request that came in: `POST /v1/refunds`. */
    asked,
    reports,
    sessions,
    intents,
    refunds,
    /** The customer pays on the page. @param method "later": by a way that takes days */
    pay(checkoutUrl: string, method: "card" | "later" = "card") {
      const session = sessions.get(checkoutUrl.split("/").at(-1) ?? "");
      if (session?.status !== "open") throw new Error("this page takes no payment");
      const later = method === "later";
      const intent: Intent = {
        id: idOf("pi"),
        object: "payment_intent",
        currency: session.currency,
        amount_received: later ? 0 : session.amount_total,
        status: later ? "processing" : "succeeded",
        metadata: (session.intent_metadata as Record<string, string>) ?? {},
        latest_charge: { id: idOf("ch"), object: "charge", amount_refunded: 0 },
      };
      intents.set(intent.id, intent);
      Object.assign(session, {
        status: "complete",
        payment_status: later ? "unpaid" : "paid",
        payment_intent: intent.id,
      });
      report("checkout.session.completed", session);
      return session;
    },
    /** A delayed payment succeeds. */
    arrive(session: Session) {
      const intent = intents.get(session.payment_intent ?? "");
      Object.assign(intent ?? {}, { amount_received: session.amount_total, status: "succeeded" });
      session.payment_status = "paid";
      report("checkout.session.async_payment_succeeded", session);
    },
    /** A refund that was under way, or done, comes to another end. */
    endRefund(id: string, status: "succeeded" | "failed") {
      const refund = [...refunds.values()].find(({ metadata }) => metadata.refund_id === id);
      if (!refund) throw new Error("there is no such refund");
      refund.status = status;
      report(status === "failed" ? "refund.failed" : "refund.updated", refund);
    },
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  stripe.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return stripe;

  function serve(request: IncomingMessage, response: ServerResponse, text: string): void {
    const url = new URL(request.url ?? "/", "http://stripe");
    const name = `${request.method} ${url.pathname}`;
    asked.push(name);
    const { mood } = stripe;
    if (mood === "hangs") return;
    if (mood === "down") return void request.socket.destroy();
    const send = ({ status, body }: Answer, headers = {}) =>
      response
        .writeHead(status, { "content-type": "application/json", "request-id": "req_1", ...headers })
        .end(JSON.stringify(body));
    const isServerError = typeof mood === "number" && mood >= 500;
    if (typeof mood === "number" && !isServerError) return void send(failure(mood, "api_error"));
    if (request.headers.authorization !== `Bearer ${key}`)
      return void send(failure(401, "invalid_request_error"));
    const params = formFields(request.method === "GET" ? url.search.slice(1) : text);
    const idempotencyKey = request.headers["idempotency-key"] as string | undefined;
    const known = request.method === "POST" && idempotencyKey ? keys.get(idempotencyKey) : undefined;
    if (known && known.params !== name + text) return void send(failure(400, "idempotency_error"));
    if (known) return void send(known.answer, { "idempotent-replayed": "true" });
    const answer = isServerError ? failure(mood, "api_error") : act(name, params);
    // A request refused for its parameters is not kept; an error of Stripe's own is kept like a success.
    if (request.method === "POST" && idempotencyKey && (answer.status < 400 || answer.status >= 500)) {
      keys.set(idempotencyKey, { params: name + text, answer });
    }
    if (mood === "lost") return void request.socket.destroy();
    send(answer);
  }

  function act(name: string, params: Fields): Answer {
    const [, id = "", verb] = /^\w+ \/v1\/checkout\/sessions\/(\w+)(\/expire)?$/.exec(name) ?? [];
    if (name === "POST /v1/checkout/sessions") return createSession(params);
    if (id) return verb ? expire(sessions.get(id)) : retrieve(sessions.get(id));
    if (name === "GET /v1/payment_intents/search") return search(String(params.query));
    if (name === "POST /v1/refunds") return createRefund(params);
    if (name === "GET /v1/refunds") {
      const limit = Number(params.limit ?? 10);
      if (limit > PAGE_MAX) return failure(400, "invalid_request_error", undefined, "limit");
      // The latest first.
      const all = [...refunds.values()]
        .filter((one) => one.payment_intent === params.payment_intent)
        .reverse();
      const rest = all.slice(all.findIndex(({ id }) => id === params.starting_after) + 1);
      const data = rest.slice(0, limit);
      const hasMore = rest.length > data.length;
      return { status: 200, body: { object: "list", data, has_more: hasMore, url: "/v1/refunds" } };
    }
    return failure(404, "invalid_request_error");
  }

  function createSession(params: Fields): Answer {
    const items = Object.values((params.line_items ?? {}) as Record<string, Fields>);
    const prices = items.map(({ quantity, price_data: price }) => {
      const { currency, unit_amount: unit } = price as { currency: string; unit_amount: string };
      return { currency, amount: Number(quantity) * Number(unit) };
    });
    const expiresAt = Number(params.expires_at ?? now() + 86_400);
    if (!params.success_url) return failure(400, "invalid_request_error", "parameter_missing", "success_url");
    if (prices.length === 0) return failure(400, "invalid_request_error", "parameter_missing", "line_items");
    if (expiresAt < now() + HALF_AN_HOUR_SECONDS || expiresAt > now() + 86_400)
      return failure(400, "invalid_request_error", undefined, "expires_at");
    const sessionId = idOf("cs_test");
    const { metadata: intentMetadata = {} } = (params.payment_intent_data ?? {}) as Fields;
    const session: Session = {
      id: sessionId,
      object: "checkout.session",
      url: `${stripe.url}/c/pay/${sessionId}`,
      client_reference_id: String(params.client_reference_id ?? ""),
      metadata: (params.metadata ?? {}) as Record<string, string>,
      intent_metadata: intentMetadata,
      shown: items.map((item) => {
        const { quantity, price_data: price } = item as { quantity: string; price_data: Fields };
        return `${quantity} × ${(price.product_data as Fields).name} at ${price.unit_amount}`;
      }),
      back: [params.success_url, params.cancel_url],
      excluded: Object.values((params.excluded_payment_method_types ?? {}) as Record<string, string>),
      amount_total: prices.reduce((sum, { amount }) => sum + amount, 0),
      currency: prices[0]?.currency ?? "",
      expires_at: expiresAt,
      payment_intent: null,
      payment_status: "unpaid",
      status: "open",
    };
    sessions.set(sessionId, session);
    return { status: 200, body: session };
  }

  function retrieve(session: Session | undefined): Answer {
    if (!session) return failure(404, "invalid_request_error", "resource_missing", "session");
    return { status: 200, body: { ...session, payment_intent: intents.get(session.payment_intent ?? "") } };
  }

  function expire(session: Session | undefined): Answer {
    if (session?.status !== "open") return failure(400, "invalid_request_error");
    Object.assign(session, { status: "expired", url: null });
    report("checkout.session.expired", session);
    return { status: 200, body: session };
  }

  function search(query: string): Answer {
    const [, orderId] = /metadata\['order_id'\]:'([^']*)' AND status:'succeeded'/.exec(query) ?? [];
    const data = [...intents.values()].filter(
      ({ metadata, status }) => metadata.order_id === orderId && status === "succeeded",
    );
    return { status: 200, body: { object: "search_result", data, has_more: false, next_page: null } };
  }

  function createRefund(params: Fields): Answer {
    const intent = intents.get(String(params.payment_intent));
    if (!intent) return failure(404, "invalid_request_error", "resource_missing", "payment_intent");
    const leftover = intent.amount_received - intent.latest_charge.amount_refunded;
    const amount = Number(params.amount ?? leftover);
    if (leftover === 0) return failure(400, "invalid_request_error", "charge_already_refunded");
    if (amount > leftover) return failure(400, "invalid_request_error", undefined, "amount");
    intent.latest_charge.amount_refunded += amount;
    const refund: Refund = {
      id: idOf("re"),
      object: "refund",
      amount,
      currency: intent.currency,
      charge: intent.latest_charge.id,
      payment_intent: intent.id,
      metadata: (params.metadata ?? {}) as Record<string, string>,
      status: stripe.mood === "slow refunds" ? "pending" : "succeeded",
    };
    refunds.set(refund.id, refund);
    report("refund.created", refund);
    report("charge.refunded", intent.latest_charge);
    return { status: 200, body: refund };
  }
}

function now(): number {
  return Math.floor(Date.now() / 1000);
}

function failure(status: number, type: string, code?: string, param?: string): Answer {
  const message = `${type} ${code ?? ""}`;
  return { status, body: { error: { type, message, ...(code && { code }), ...(param && { param }) } } };
}

/** `a[b][0][c]=d` as the object that it says. */
function formFields(text: string): Fields {
  const fields: Fields = {};
  for (const [path, value] of new URLSearchParams(text)) {
    const names = path.split(/[[\]]+/).filter(Boolean);
    let at: Fields = fields;
    for (const name of names.slice(0, -1)) {
      at[name] ??= {};
      at = at[name] as Fields;
    }
    at[names.at(-1) as string] = value;
  }
  return fields;
}

async function readText(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString("utf8");
}
