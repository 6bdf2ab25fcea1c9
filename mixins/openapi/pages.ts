import { createReadStream } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

const SWAGGER_UI = dirname(createRequire(import.meta.url).resolve("swagger-ui-dist/package.json"));
const ASSET_MAX_AGE_SECONDS = 3_600;

/** What of Swagger UI the page needs; nothing else of its package is served. */
const assets: Record<string, string> = {
  "swagger-ui.css": "text/css; charset=utf-8",
  "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
  "favicon-32x32.png": "image/png",
};

/** Swagger UI sets style attributes itself; scripts come from here only, and no page may frame it. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

type Handler = (req: IncomingMessage & { originalUrl?: string }, res: ServerResponse) => void;

/** A route in moleculer-web's words. */
export interface PageRoute {
  name: string;
  path: string;
  aliases: Record<string, Handler>;
  mappingPolicy: "restrict";
  bodyParsers: false;
  logging: false;
}

/** The page that explains one code each: its title and its status. */
export interface CodeEntry {
  code: string;
  status: number;
  title: string;
}

/**
 * The documentation as routes of moleculer-web: /openapi.json, Swagger UI at /docs/ and /docs/index.html, and
 * /docs/errors, where the `type` of every problem document leads. `/` leads to the page.
 */
export function documentationRoutes(
  document: object,
  title: string,
  codes: readonly CodeEntry[],
): PageRoute[] {
  const json = Buffer.from(JSON.stringify(document));
  const index: Handler = (req, res) => {
    // Without the slash the page's relative addresses would lead elsewhere.
    if (req.originalUrl === "/docs") return redirect(res, "/docs/");
    page(res, "text/html; charset=utf-8", indexPage(title));
  };
  const files = Object.entries(assets).map(([name, type]) => [`GET /${name}`, asset(name, type)] as const);
  const errors = errorsPage(title, codes);
  return [
    pageRoute("openapi", "/openapi.json", {
      "GET /": (_req, res) => page(res, "application/json; charset=utf-8", json),
    }),
    pageRoute("docs", "/docs", {
      "GET /": index,
      "GET /index.html": index,
      "GET /start.js": (_req, res) => page(res, "text/javascript; charset=utf-8", START_SCRIPT),
      "GET /errors": (_req, res) => page(res, "text/html; charset=utf-8", errors),
      ...Object.fromEntries(files),
    }),
    pageRoute("root", "/", { "GET /": (_req, res) => redirect(res, "/docs/") }),
  ];
}

/** Pages under one path, by "GET /name". */
export function pageRoute(name: string, path: string, aliases: Record<string, Handler>): PageRoute {
  return { name, path, aliases, mappingPolicy: "restrict", bodyParsers: false, logging: false };
}

/** Answers a page that runs scripts of this server alone. */
export function page(res: ServerResponse, type: string, body: string | Buffer): void {
  res.writeHead(200, {
    "Content-Type": type,
    "Content-Length": Buffer.byteLength(body),
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-cache",
  });
  res.end(body);
}

function redirect(res: ServerResponse, to: string): void {
  res.writeHead(302, { Location: to, "Content-Length": 0 }).end();
}

function asset(name: string, type: string): Handler {
  return (_req, res) => {
    const file = createReadStream(join(SWAGGER_UI, name));
    file.once("error", () => res.destroy());
    file.once("open", () => {
      const cache = `public, max-age=${ASSET_MAX_AGE_SECONDS}`;
      res.writeHead(200, { "Content-Type": type, "Cache-Control": cache, "Content-Security-Policy": POLICY });
      file.pipe(res);
    });
    res.once("close", () => file.destroy());
  };
}

function indexPage(title: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<link rel="stylesheet" href="./swagger-ui.css">
<link rel="icon" type="image/png" href="./favicon-32x32.png">
</head>
<body>
<div id="swagger-ui"></div>
<script src="./swagger-ui-bundle.js"></script>
<script src="./start.js"></script>
</body>
</html>
`;
}

const START_SCRIPT = `window.ui = SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  docExpansion: "list",
  persistAuthorization: true,
  tryItOutEnabled: true,
  validatorUrl: null,
});
`;

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
