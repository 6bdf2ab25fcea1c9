import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

const NO_KEY =
  "Access denied.  Please include an 'Authorization: ...' header with a valid API key (https://documentation.onesignal.com/docs/en/keys-and-ids#api-keys).";

/** The answers to pushes for a subscription. */
export type OneSignalMode =
  | "accept"
  | "invalid_ids"
  | "unsubscribed"
  | "bad_request"
  | "rate_limited"
  | "unavailable"
  | "error"
  | "hang";

interface Body {
  app_id?: string;
  include_subscription_ids?: string[];
  contents?: { en?: string };
  headings?: { en?: string };
  idempotency_key?: string;
  collapse_id?: string;
}

/**
 * A OneSignal of our own with the bodies that OneSignal documents for POST /notifications. It refuses every
 * authorization but `Key <the app's key>`, also the `Basic` of the retired keys.
 */
export async function startOneSignal({ appId, apiKey }: { appId: string; apiKey: string }) {
  const modes = new Map<string, OneSignalMode>();
  const shown = new Map<string, { title: string; body: string; subscription: string; id: string }>();
  const requests: { authorization: string | undefined; body: Body }[] = [];

  function reply(mode: OneSignalMode, subscription: string, body: Body): [number, unknown] | undefined {
    if (mode === "invalid_ids") return [200, { id: "", errors: { invalid_player_ids: [subscription] } }];
    if (mode === "unsubscribed") {
      return [200, { id: "", external_id: null, errors: ["All included players are not subscribed"] }];
    }
    if (mode === "bad_request") {
      return [400, { errors: ["Message Notifications must have English language content"] }];
    }
    if (mode === "rate_limited") return [429, { errors: ["API rate limit exceeded."] }];
    if (mode === "unavailable") return [503, { errors: ["Service temporarily unavailable"] }];
    const key = body.idempotency_key ?? "";
    const known = shown.get(key);
    const id = known?.id ?? crypto.randomUUID();
    const [title, text] = [body.headings?.en ?? "", body.contents?.en ?? ""];
    if (!known) shown.set(key, { title, body: text, subscription, id });
    if (mode === "error") return [500, { errors: ["Internal Server Error"] }];
    return mode === "hang" ? undefined : [200, { id, external_id: key }];
  }

  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const answer = (status: number, value: unknown) => {
      response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));
    };
    if (request.method !== "POST" || request.url !== "/notifications")
      return answer(404, { errors: ["Not found"] });
    const body = JSON.parse(Buffer.concat(chunks).toString("utf8")) as Body;
    requests.push({ authorization: request.headers.authorization, body });
    if (request.headers.authorization !== `Key ${apiKey}` || body.app_id !== appId) {
      return answer(403, { errors: [NO_KEY] });
    }
    const [subscription] = body.include_subscription_ids ?? [];
    if (!subscription) return answer(400, { errors: ["You must include which players, segments, or tags"] });
    const result = reply(modes.get(subscription) ?? "accept", subscription, body);
    if (result) answer(...result);
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });

  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    shown: () => [...shown.values()],
    /** A new subscription whose pushes are treated so. */
    subscription(mode: OneSignalMode = "accept"): string {
      const id = crypto.randomUUID();
      modes.set(id, mode);
      return id;
    },
    stop: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

export type OneSignalServer = Awaited<ReturnType<typeof startOneSignal>>;
