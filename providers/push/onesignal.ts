import type { Client } from "onesignal-node";
import { boundedFetch } from "../../lib/net/bounded-fetch.ts";
import { byStatus, shorten, withoutAnswer } from "./http.ts";
import type { Push, PushProvider, PushResult } from "./port.ts";

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const API_KEY_MIN = 20;
const CLIENTS_MAX = 50;
const ERRORS_SHOWN = 3;

type Library = typeof import("onesignal-node");
type Body = Parameters<Client["createNotification"]>[0] & {
  include_subscription_ids: string[];
  idempotency_key: string;
};
interface Answer {
  id?: string;
  errors?: string[] | { invalid_player_ids?: string[]; invalid_subscription_ids?: string[] };
}

/**
 * Adds a method to the library's client, whose own method uses the retired `Basic` authorization and has no time
 * limit.
 */
function clientClass({ Client, HTTPError }: Library) {
  return class extends Client {
    /** @throws HTTPError for any status that is not 2xx, TimeoutError without an answer in time */
    async create(body: Body, timeoutMs: number): Promise<Answer> {
      const { status, text } = await boundedFetch(`${this.options.apiRoot}/notifications`, {
        method: "POST",
        headers: { authorization: `Key ${this.apiKey}`, "content-type": "application/json; charset=utf-8" },
        body: JSON.stringify({ app_id: this.appId, target_channel: "push", ...body }),
        timeoutMs,
        redirect: "error",
      });
      if (status < 200 || status > 299) throw new HTTPError(status, text);
      return JSON.parse(text) as Answer;
    }
  };
}

/**
 * Push by OneSignal's REST API.
 * @param apiUrl the root of the API, e.g. `https://api.onesignal.com`
 */
export function oneSignal({ apiUrl }: { apiUrl: string }): PushProvider {
  type KeyClient = InstanceType<ReturnType<typeof clientClass>>;
  // Loaded at the first push: the package's HTTP library would cost 130 ms and 20 MB at every start.
  let loading: Promise<ReturnType<typeof clientClass>> | undefined;
  const clients = new Map<string, KeyClient>();

  async function clientOf({ appId, apiKey }: Push["settings"]): Promise<KeyClient> {
    loading ??= import("onesignal-node").then(clientClass);
    const KeyClient = await loading;
    const id = `${appId}\n${apiKey}`;
    let client = clients.get(id);
    if (!client) {
      if (clients.size >= CLIENTS_MAX) clients.clear();
      client = new KeyClient(appId ?? "", apiKey ?? "", { apiRoot: apiUrl });
      clients.set(id, client);
    }
    return client;
  }

  return {
    name: "onesignal",
    requires: ["appId", "apiKey"],
    check({ appId = "", apiKey = "" }) {
      if (!UUID.test(appId)) return "appId must be the OneSignal App ID, a UUID";
      return apiKey.length < API_KEY_MIN ? "apiKey must be the app's API key" : undefined;
    },
    async send(push) {
      const client = await clientOf(push.settings);
      try {
        return readAnswer(await client.create(bodyOf(push), push.timeoutMs), push.token);
      } catch (error) {
        return readError(error, push);
      }
    },
  };
}

function bodyOf({ token, title, body, data, collapseId }: Push): Body {
  return {
    include_subscription_ids: [token],
    headings: { en: title },
    contents: { en: body },
    data: { ...data },
    idempotency_key: collapseId,
    collapse_id: collapseId,
  };
}

// OneSignal also answers 200 when it sent nothing: then the id is empty and `errors` has one of two shapes.
function readAnswer({ id, errors }: Answer, token: string): PushResult {
  if (Array.isArray(errors)) {
    const isUnsubscribed = errors.some((text) => /not subscribed/i.test(text));
    if (!id) return { outcome: isUnsubscribed ? "unregistered" : "refused", detail: quoted(errors) };
  } else if (errors) {
    const invalid = [...(errors.invalid_player_ids ?? []), ...(errors.invalid_subscription_ids ?? [])];
    if (invalid.includes(token)) return { outcome: "unregistered", detail: "the subscription is not known" };
    if (!id) return { outcome: "refused", detail: shorten(JSON.stringify(errors)) };
  }
  return id
    ? { outcome: "accepted", detail: `message ${shorten(id)}` }
    : { outcome: "refused", detail: "no message was made" };
}

function readError(error: unknown, push: Push): PushResult {
  const { statusCode, body } = error as { statusCode?: number; body?: string };
  if (statusCode === undefined) {
    if (error instanceof SyntaxError) return { outcome: "unclear", detail: "an answer that is not JSON" };
    return withoutAnswer(error, push.timeoutMs);
  }
  const answer = parsed(body);
  const known = answer.errors ? readAnswer({ errors: answer.errors }, push.token) : undefined;
  if (statusCode === 400 && known?.outcome === "unregistered") return known;
  const said = Array.isArray(answer.errors) ? `: ${quoted(answer.errors)}` : "";
  const concerns = statusCode === 400 ? { concerns: "token" as const } : {};
  return { outcome: byStatus(statusCode), detail: shorten(`status ${statusCode}${said}`), ...concerns };
}

function parsed(body: string | undefined): Answer {
  try {
    return (JSON.parse(body ?? "") as Answer | null) ?? {};
  } catch {
    return {};
  }
}

function quoted(errors: readonly unknown[]): string {
  return shorten(errors.slice(0, ERRORS_SHOWN).map(String).join("; "));
}
