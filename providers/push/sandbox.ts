import { boundedFetch } from "../../lib/net/bounded-fetch.ts";
import { byStatus, shorten, withoutAnswer } from "./http.ts";
import type { PushProvider } from "./port.ts";

/**
 * Push to the sandbox's receiver, which shows pushes on a page. Its answers: 202 accepted (also for a duplicate, which
 * it shows once), 404 with `{ "error": "unregistered" }`, other 4xx refused.
 */
export function sandboxPush(): PushProvider {
  return {
    name: "sandbox",
    requires: ["url"],
    check({ url = "" }) {
      return URL.canParse(url) && /^https?:$/.test(new URL(url).protocol)
        ? undefined
        : "url must be the http address of the sandbox's push receiver";
    },
    async send({ settings, timeoutMs, token, title, body, data, collapseId }) {
      try {
        const { status, text } = await boundedFetch(settings.url ?? "", {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ token, title, body, data, collapse_id: collapseId }),
          timeoutMs,
          redirect: "error",
        });
        if (status === 404 && text.includes("unregistered")) {
          return { outcome: "unregistered", detail: "the token is not known" };
        }
        const concerns = status >= 400 && status < 500 ? { concerns: "token" as const } : {};
        return { outcome: byStatus(status), detail: shorten(`status ${status}`), ...concerns };
      } catch (error) {
        return withoutAnswer(error, timeoutMs);
      }
    },
  };
}
