import type { PageRoute } from "moleculer-open-api";
import { orderStatus } from "../../../contracts/order-status.ts";
import { BASE_PATH } from "../routes/index.ts";
import { type PageTexts, pageTexts } from "./page-texts.ts";
import { readerHtml, readerPage } from "./reader-page.ts";

const PATH = "/track";
const REFRESH_MS = 15_000;

/**
 * The page that mails to customers link to where there is no front app: the state of one order. The token is in the
 * fragment of the URL, as on the pages of accounts.
 */
export function trackingPageRoute(): PageRoute {
  return readerPage({ name: "track", path: PATH }, htmlOf, SCRIPT);
}

function htmlOf(language: string): string {
  const { tracking } = pageTexts[language] as PageTexts;
  const states = orderStatus.values.map(
    (status) => `<p data-status="${status}" hidden>${tracking.states[status]}</p>`,
  );
  return readerHtml(
    { language, title: tracking.title, path: PATH },
    `<p><strong id="partner"></strong></p>
<div id="states" data-call="${BASE_PATH}/track/" data-gone="${tracking.gone}" data-unreachable="${tracking.unreachable}">
${states.join("\n")}
</div>
<p id="outcome" role="status"></p>`,
  );
}

/** The time is shown in the format of the reader's language, and the page is updated while the order can change. */
const SCRIPT = `const states = document.getElementById("states");
const partner = document.getElementById("partner");
const outcome = document.getElementById("outcome");
const final = ["delivered", "cancelled", "expired"];
async function update() {
  const { call, gone, unreachable } = states.dataset;
  let order;
  try {
    const answer = await fetch(call + encodeURIComponent(location.hash.slice(1)));
    if (answer.status === 404) {
      outcome.textContent = gone;
      return;
    }
    order = answer.ok ? await answer.json() : undefined;
  } catch {}
  if (order) {
    partner.textContent = order.partner_title;
    for (const state of states.children) state.hidden = state.dataset.status !== order.status;
  }
  outcome.textContent = order ? new Date(order.updated_at).toLocaleString(document.documentElement.lang) : unreachable;
  if (!final.includes(order?.status)) setTimeout(update, ${REFRESH_MS});
}
update();
`;
