import { createReadStream } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

const SWAGGER_UI = dirname(createRequire(import.meta.url).resolve("swagger-ui-dist/package.json"));
const ASSET_MAX_AGE_SECONDS = 3_600;

/** The files of Swagger UI that the page needs. No other file of the package is served. */
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

export type Handler = (req: IncomingMessage & { originalUrl?: string }, res: ServerResponse) => void;

/** A route of moleculer-web. */
export interface PageRoute {
  name: string;
  path: string;
  aliases: Record<string, Handler>;
  mappingPolicy: "restrict";
  bodyParsers: false;
  logging: false;
}

/** Pages under one path, by "GET /name". */
export function pageRoute(name: string, path: string, aliases: Record<string, Handler>): PageRoute {
  return { name, path, aliases, mappingPolicy: "restrict", bodyParsers: false, logging: false };
}

export interface SwaggerUiOptions {
  /** The title of the page. */
  title: string;
  /** The address of the OpenAPI document, absolute or relative to the page. */
  documentUrl: string;
}

/** Swagger UI as the aliases of a route: the page at `/` and `/index.html`, and its files. */
export function swaggerUi({ title, documentUrl }: SwaggerUiOptions): Record<string, Handler> {
  const html = indexPage(title);
  const start = startScript(documentUrl);
  const files = Object.entries(assets).map(([name, type]) => [`GET /${name}`, asset(name, type)] as const);
  return {
    "GET /": (req, res) => {
      const [path = ""] = (req.originalUrl ?? req.url ?? "").split("?");
      // Without the slash the page's relative addresses would lead elsewhere.
      if (!path.endsWith("/")) return redirect(res, `${path}/`);
      page(res, "text/html; charset=utf-8", html);
    },
    "GET /index.html": (_req, res) => page(res, "text/html; charset=utf-8", html),
    "GET /start.js": (_req, res) => page(res, "text/javascript; charset=utf-8", start),
    ...Object.fromEntries(files),
  };
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

export function redirect(res: ServerResponse, to: string): void {
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
<title>${escaped(title)}</title>
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

function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}

function startScript(documentUrl: string): string {
  return `window.ui = SwaggerUIBundle({
  url: ${JSON.stringify(documentUrl)},
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  docExpansion: "list",
  persistAuthorization: true,
  tryItOutEnabled: true,
  validatorUrl: null,
});
`;
}
