import type { PageRoute } from "moleculer-open-api";
import { BASE_PATH } from "../routes/index.ts";
import { type FieldName, type PageName, type PageTexts, pageTexts } from "./page-texts.ts";
import { readerHtml, readerPage } from "./reader-page.ts";

interface AccountPage {
  name: PageName;
  path: string;
  /** The operation that the form calls. */
  call: string;
  fields: readonly FieldName[];
}

/**
 * The pages that mails link to where no front app has them (`APP_URL`). Secrets are in the fragment of the URL, which
 * is never sent to a server or logged. Nothing happens before the button is pressed, because mail scanners follow links.
 */
const accountPages: readonly AccountPage[] = [
  { name: "confirm", path: "/email/confirm", call: "/users/confirm", fields: ["email", "code"] },
  { name: "forgot", path: "/password/forgot", call: "/password/forgot", fields: ["email"] },
  { name: "reset", path: "/password/reset", call: "/password/reset", fields: ["email", "code", "password"] },
  {
    name: "accept",
    path: "/invitations/accept",
    call: "/invitations/accept",
    fields: ["token", "language", "first_name", "last_name", "password"],
  },
  { name: "undo", path: "/email/undo", call: "/email/undo", fields: ["token", "new_password"] },
];

export function accountPageRoutes(): PageRoute[] {
  return accountPages.map((each) => readerPage(each, (language) => htmlOf(each, language), SCRIPT));
}

/** Attributes of the inputs. The hidden ones are the token of the link and the language of the page. */
const inputs: Readonly<Record<FieldName, string>> = {
  token: 'type="hidden"',
  language: 'type="hidden"',
  email: 'type="email" autocomplete="email" required',
  code: 'inputmode="numeric" autocomplete="one-time-code" pattern="[0-9]{6}" required',
  first_name: 'autocomplete="given-name" required',
  last_name: 'autocomplete="family-name"',
  password: 'type="password" autocomplete="new-password" minlength="8" required',
  new_password: 'type="password" autocomplete="new-password" minlength="8"',
};

/** All texts are ours, so nothing is escaped. */
function htmlOf({ name, path, call, fields }: AccountPage, language: string): string {
  const texts = pageTexts[language] as PageTexts;
  const { title, about, button, done } = texts.pages[name];
  const field = (one: FieldName) => {
    if (one === "language") return `<input name="language" ${inputs.language} value="${language}">`;
    const input = `<input name="${one}" ${inputs[one]}>`;
    return one === "token" ? input : `<p><label>${texts.labels[one]}<br>${input}</label></p>`;
  };
  return readerHtml(
    { language, title, path },
    `<p>${about}</p>
<form id="form" data-call="${BASE_PATH}${call}" data-done="${done}" data-unreachable="${texts.unreachable}">
${fields.map(field).join("\n")}
<p><button>${button}</button></p>
</form>
<p id="outcome" role="status"></p>`,
  );
}

/** The links of a former release have the token alone in the fragment. */
const SCRIPT = `const form = document.getElementById("form");
const outcome = document.getElementById("outcome");
const fragment = location.hash.slice(1);
for (const [name, value] of new URLSearchParams(fragment.includes("=") ? fragment : { token: fragment })) {
  const input = form.elements.namedItem(name);
  if (input instanceof HTMLInputElement) input.value = value;
}
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { call, done, unreachable } = form.dataset;
  const body = Object.fromEntries([...new FormData(form)].filter(([, value]) => value !== ""));
  const headers = { "Content-Type": "application/json" };
  try {
    const answer = await fetch(call, { method: "POST", headers, body: JSON.stringify(body) });
    const problem = answer.ok ? undefined : await answer.json();
    outcome.textContent = problem ? problem.detail || problem.title : done;
    if (!problem) form.remove();
  } catch {
    outcome.textContent = unreachable;
  }
});
`;
