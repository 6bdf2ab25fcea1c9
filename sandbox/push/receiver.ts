import { html } from "hono/html";
import { sendPage, timeText } from "../layout.ts";
import { httpError, jsonOf, newRoutes, type Routes } from "../web.ts";

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
    routes: newRoutes()
      .post(`${base}/send`, async (c) => {
        const { token, title, body, data, collapse_id: collapseId } = await jsonOf(c);
        if (![token, title, body, collapseId].every((value) => typeof value === "string" && value)) {
          throw httpError(400, "token, title, body and collapse_id are needed");
        }
        const phone = String(token);
        if (phone.startsWith("unregistered-")) return c.json({ error: "unregistered" }, 404);
        if (phone.startsWith("refuse-")) return c.json({ error: "refused" }, 400);
        show({
          token: phone,
          title: String(title),
          body: String(body),
          data: (data ?? {}) as Record<string, string>,
          collapseId: String(collapseId),
        });
        if (phone.startsWith("broken-")) return c.json({ error: "broken" }, 500);
        if (phone.startsWith("hang-")) return new Promise<never>(() => undefined);
        return c.json({}, 202);
      })
      .get(`${base}.json`, (c) => {
        const token = c.req.query("token");
        return c.json(
          newestFirst()
            .filter((push) => token === undefined || push.token === token)
            .map(({ collapseId, ...push }) => ({ ...push, collapse_id: collapseId })),
        );
      })
      .get(base, (c) =>
        sendPage(c, {
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
      ),
  };
}
