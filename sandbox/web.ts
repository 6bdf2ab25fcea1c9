import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { createAdaptorServer, type HttpBindings } from "@hono/node-server";
import { type Context, Hono } from "hono";
import type { html } from "hono/html";
import { HTTPException } from "hono/http-exception";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { foreignHeader } from "../lib/net/foreign-request.ts";

const BODY_MAX_BYTES = 128 * 1024;
const HEADERS_TIMEOUT_MS = 5_000;
const REQUEST_TIMEOUT_MS = 10_000;

export interface Environment {
  Bindings: HttpBindings;
}
export type Routes = Hono<Environment>;
export type Html = ReturnType<typeof html>;

/** Without routes. A path may end with a slash. */
export function newRoutes(): Routes {
  return new Hono<Environment>({ strict: false });
}

/** An error with the status of its answer. */
export function httpError(status: number, message: string): HTTPException {
  return new HTTPException(status as ContentfulStatusCode, { message });
}

export interface WebServer {
  url: string;
  stop(): Promise<void>;
}

/**
 * Serves the routes over HTTP. Port 0 means a free port.
 * @throws Error with the code EADDRINUSE when the port is taken
 */
export async function serve(
  routes: Routes,
  { host, port, allowedHosts }: { host: string; port: number; allowedHosts?: string },
): Promise<WebServer> {
  const app = newRoutes()
    .use(async (c, next) => {
      c.header("cache-control", "no-store");
      c.header("x-content-type-options", "nosniff");
      // With no-referrer, browsers send "Origin: null" when they submit the forms of these pages.
      c.header("referrer-policy", "same-origin");
      const disallowed = foreignHeader(c.env.incoming.headers, allowedHosts);
      if (disallowed)
        throw httpError(403, `This ${disallowed} is not allowed here: ALLOWED_HOSTS names those that are.`);
      await next();
    })
    .route("/", routes)
    .notFound((c) => c.json({ error: "There is nothing here." }, 404))
    .onError((error, c) => {
      if (error instanceof HTTPException) return c.json({ error: error.message }, error.status);
      console.error("sandbox:", error);
      return c.json({ error: "The sandbox failed." }, 500);
    });
  const server = createAdaptorServer({
    fetch: app.fetch,
    overrideGlobalObjects: false,
    serverOptions: { headersTimeout: HEADERS_TIMEOUT_MS, requestTimeout: REQUEST_TIMEOUT_MS },
  }) as Server;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen(port, host, resolve);
  });
  const address = server.address() as AddressInfo;
  const urlHost = host.includes(":") ? `[${host}]` : host;
  return {
    url: `http://${urlHost === "0.0.0.0" || urlHost === "[::]" ? "localhost" : urlHost}:${address.port}`,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** The body as text. @throws HTTPException 413 for a body that is too long, also one of unknown length */
export async function textOf(c: Context<Environment>): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of c.env.incoming) {
    bytes += (chunk as Buffer).length;
    if (bytes > BODY_MAX_BYTES) throw httpError(413, "The body is too large.");
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** The body as a JSON object. @throws HTTPException 400 for anything else */
export async function jsonOf(c: Context<Environment>): Promise<Record<string, unknown>> {
  const text = await textOf(c);
  try {
    const value: unknown = JSON.parse(text);
    if (value !== null && typeof value === "object" && !Array.isArray(value)) {
      return value as Record<string, unknown>;
    }
  } catch {
    // Falls through to the error below.
  }
  throw httpError(400, "The body must be a JSON object.");
}

/** The fields of a submitted form. */
export async function formOf(c: Context<Environment>): Promise<URLSearchParams> {
  return new URLSearchParams(await textOf(c));
}
