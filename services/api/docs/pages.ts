import { type PageRoute, page, pageRoute, redirect, swaggerUi } from "moleculer-open-api";

/** One row of the page of error codes. */
export interface CodeEntry {
  code: string;
  status: number;
  title: string;
}

/**
 * The documentation as routes of moleculer-web: /openapi.json, Swagger UI at /docs/ and /docs/index.html, and
 * /docs/errors, the target of the `type` of problem documents. `/` redirects to /docs/.
 */
export function documentationRoutes(
  document: object,
  title: string,
  codes: readonly CodeEntry[],
): PageRoute[] {
  const json = Buffer.from(JSON.stringify(document));
  const errors = errorsPage(title, codes);
  return [
    pageRoute("openapi", "/openapi.json", {
      "GET /": (_req, res) => page(res, "application/json; charset=utf-8", json),
    }),
    pageRoute("docs", "/docs", {
      ...swaggerUi({ title, documentUrl: "/openapi.json" }),
      "GET /errors": (_req, res) => page(res, "text/html; charset=utf-8", errors),
    }),
    pageRoute("root", "/", { "GET /": (_req, res) => redirect(res, "/docs/") }),
  ];
}

function errorsPage(title: string, codes: readonly CodeEntry[]): string {
  const rows = codes.map(
    ({ code, status, title: meaning }) =>
      `<tr id="${code}"><td><code>${code}</code></td><td>${status}</td><td>${meaning}</td></tr>`,
  );
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}: errors</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 50rem; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
td, th { border-bottom: 1px solid #ccc; padding: .4rem .6rem; text-align: left; }
tr:target { background: #fff3c4; }
</style>
</head>
<body>
<h1>Errors</h1>
<p>Every error is a problem document (RFC 9457). Programs branch on its <code>code</code>.</p>
<table>
<tr><th>code</th><th>status</th><th>meaning</th></tr>
${rows.join("\n")}
</table>
</body>
</html>
`;
}
