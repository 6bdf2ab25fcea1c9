import { page, timeText } from "../layout.ts";
import { html, jsonOf, type Routes, WebError } from "../web.ts";

const PUSHES_MAX = 500;

export interface ReceivedPush {
  token: string;
  title: string;
  body: string;
  data: Record<string, string>;
  collapseId: string;
  at: string;
  /** How often the same push arrived. It is shown once. */
  times: number;
}

/**
 * Simulates a push provider and its phones. The prefix of a token selects the result of its pushes: `unregistered-`,
 * `refuse-`, `broken-` or `hang-`. With any other token the phone shows them.
 */
export function pushReceiver(base: string): { routes: Routes; pushes(): ReceivedPush[] } {
  const shown = new Map<string, ReceivedPush>();

  function show(push: Omit<ReceivedPush, "at" | "times">): void {
    const known = shown.get(push.collapseId);
    if (known) {
      known.times += 1;
      return;
    }
    if (shown.size >= PUSHES_MAX) shown.delete(shown.keys().next().value as string);
    shown.set(push.collapseId, { ...push, at: new Date().toISOString(), times: 1 });
  }
  const newestFirst = () => [...shown.values()].reverse();

  return {
    pushes: newestFirst,
    routes: {
      [`POST ${base}/send`]: async (request) => {
        const { token, title, body, data, collapse_id: collapseId } = jsonOf(request);
        if (![token, title, body, collapseId].every((value) => typeof value === "string" && value)) {
          throw new WebError(400, "token, title, body and collapse_id are needed");
        }
        const phone = String(token);
        if (phone.startsWith("unregistered-")) return { status: 404, json: { error: "unregistered" } };
        if (phone.startsWith("refuse-")) return { status: 400, json: { error: "refused" } };
        show({
          token: phone,
          title: String(title),
          body: String(body),
          data: (data ?? {}) as Record<string, string>,
          collapseId: String(collapseId),
        });
        if (phone.startsWith("broken-")) return { status: 500, json: { error: "broken" } };
        if (phone.startsWith("hang-")) return new Promise(() => undefined);
        return { status: 202, json: {} };
      },
      [`GET ${base}.json`]: ({ query }) => {
        const token = query.get("token");
        return {
          json: newestFirst()
            .filter((push) => token === null || push.token === token)
            .map(({ collapseId, ...push }) => ({ ...push, collapse_id: collapseId })),
        };
      },
      [`GET ${base}`]: () =>
        page({
          title: "Pushes",
          of: "Phones",
          home: "/",
          refreshSeconds: 5,
          body: html`<h1>What the phones show</h1>
<p class="quiet">Newest first. The page loads itself again every five seconds.</p>
${newestFirst().map(
  (push) => html`<article class="card"><strong>${push.title}</strong>
<p>${push.body}</p>
<p class="quiet small">${timeText(push.at)} · token <code>${push.token.slice(0, 40)}</code>${
    push.times > 1 ? ` · came ${push.times} times, shown once` : ""
  }</p></article>`,
)}
${shown.size === 0 ? html`<p>No push yet. A customer’s phone shows one for each step of an order, once it was registered with <code>POST /me/devices</code>.</p>` : ""}`,
        }),
    },
  };
}
