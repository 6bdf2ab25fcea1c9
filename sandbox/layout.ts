import { createHash } from "node:crypto";
import type { Context } from "hono";
import { html, raw } from "hono/html";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { decimalText } from "../lib/money.ts";
import type { Html } from "./web.ts";

/** The style sheet of all pages. The pages work without JavaScript and load nothing from other servers. */
const css = `
:root { color-scheme: light dark; --ink: #16211c; --quiet: #5a6a62; --paper: #f5f7f4; --card: #ffffff;
  --line: #dde4de; --brand: #0b6b4f; --brand-ink: #ffffff; --warn: #9a3412; --good: #166534; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8efea; --quiet: #9fb0a7; --paper: #111814;
  --card: #19231e; --line: #2c3a33; --brand: #35c997; --brand-ink: #06231a; --warn: #fdba74; --good: #86efac; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
header { padding: 1rem 1.25rem; border-bottom: 1px solid var(--line); background: var(--card);
  display: flex; gap: 1rem; align-items: baseline; flex-wrap: wrap; }
header strong { font-size: 1.05rem; } header a { margin-left: auto; }
main { max-width: 44rem; margin: 0 auto; padding: 1.5rem 1.25rem 4rem; }
main.narrow { max-width: 28rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 1rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p, ul, ol { margin: 0 0 .75rem; } ul, ol { padding-left: 1.25rem; } li { margin: 0 0 .25rem; } .card > :last-child { margin-bottom: 0; } a { color: var(--brand); } code { overflow-wrap: anywhere; background: var(--line); border-radius: 4px; padding: 0 .25em; }
.quiet { color: var(--quiet); } .small { font-size: .875rem; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 1.25rem;
  margin: 0 0 1rem; }
.amount { font-size: 2.25rem; font-weight: 700; letter-spacing: -.02em; margin: 0; font-variant-numeric: tabular-nums; }
.notice { border-left: 4px solid var(--brand); padding-left: 1rem; } .notice.warn { border-color: var(--warn); }
.good { color: var(--good); } .warn { color: var(--warn); }
button, input { font: inherit; border-radius: 8px; min-height: 3rem; width: 100%; padding: .6rem 1rem; }
button { border: 1px solid var(--line); background: transparent; color: var(--ink); cursor: pointer; }
button.primary { background: var(--brand); color: var(--brand-ink); border-color: var(--brand); font-weight: 600; }
button:hover { border-color: var(--brand); }
:focus-visible { outline: 3px solid var(--brand); outline-offset: 2px; }
input { border: 1px solid var(--quiet); background: var(--card); color: var(--ink); }
form { display: grid; gap: .6rem; margin: 0 0 .75rem; } label { font-weight: 600; }
.row { display: grid; grid-template-columns: 1fr auto; gap: .6rem; } .row button { width: auto; }
details { margin-top: 1rem; } summary { cursor: pointer; padding: .5rem 0; }
table { width: 100%; border-collapse: collapse; } td, th { text-align: left; padding: .5rem .5rem .5rem 0;
  border-bottom: 1px solid var(--line); vertical-align: top; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: var(--paper); padding: 1rem; border-radius: 8px; }
iframe { width: 100%; height: 30rem; border: 1px solid var(--line); border-radius: 8px; background: #fff; }
`;

const styleHash = createHash("sha256").update(css).digest("base64");

/** A page of the sandbox. */
export interface Page {
  title: string;
  /** The name of the system in the header of the page. */
  of: string;
  body: Html;
  narrow?: boolean;
  /** Link to the index page; absent on a page for customers. */
  home?: string;
  status?: number;
  /** The browser reloads the page after this time. */
  refreshSeconds?: number;
}

export function sendPage(c: Context, page: Page): Response | Promise<Response> {
  const { title, of, body, narrow, home, status = 200, refreshSeconds } = page;
  c.header(
    "content-security-policy",
    `default-src 'none'; style-src 'sha256-${styleHash}'; form-action 'self'; frame-src 'self'; base-uri 'none'; frame-ancestors 'none'`,
  );
  if (refreshSeconds) c.header("refresh", String(refreshSeconds));
  return c.html(
    html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title} · ${of}</title>
<style>${raw(css)}</style>
</head>
<body>
<header><strong>${of}</strong> <span class="quiet small">sandbox: no real money, no real people</span>${
      home ? html` <a href="${home}">All of the sandbox</a>` : ""
    }</header>
<main${raw(narrow ? ' class="narrow"' : "")}>
${body}
</main>
</body>
</html>
`,
    status as ContentfulStatusCode,
  );
}

/** `14:03:07 UTC`, with the date when it is not today's. */
export function timeText(iso: string): string {
  const [date, time] = iso.split("T") as [string, string];
  const today = new Date().toISOString().startsWith(date);
  return `${today ? "" : `${date} `}${time.slice(0, 8)} UTC`;
}

/** `EUR 12.50`. */
export function amountText(amountMinor: number, currency: string): string {
  return `${currency} ${decimalText({ amountMinor, currency })}`;
}
