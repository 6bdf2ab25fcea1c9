import type { IncomingMessage, ServerResponse } from "node:http";
import type { Context, ServiceBroker } from "moleculer";
import type { Meta } from "../../../contracts/meta.ts";
import { networkOf } from "../../../lib/net/network-of.ts";
import { failHttpSpan, nameHttpSpan } from "../../../lib/tracing/index.ts";
import type { TokenVerifier } from "../../../mixins/caller/token-verifier.ts";
import { bytesOf, sendProblem, sendRead, sendResult } from "../answers/answer.ts";
import { problemOf } from "../answers/problem.ts";
import { cacheKeyOf, type ResponseCache } from "../answers/response-cache.ts";
import { count } from "../edge/count-request.ts";
import { exchangeOf } from "../edge/request-context.ts";
import { afterVersion, type OrderStreams, orderReader } from "../events/order-events.ts";
import { type Limiter, type LimitKey, limitHeaders } from "../limits/limits.ts";
import { BASE_PATH } from "../routes/index.ts";
import { authenticate, authorize, metaOf } from "./auth.ts";
import type { Endpoint } from "./endpoint.ts";
import { readRequest } from "./request.ts";

export interface ServeDeps {
  limiter: Limiter;
  verifier: TokenVerifier;
  streams: OrderStreams;
  kept: ResponseCache;
  docsUrl: string;
  logger: ServiceBroker["logger"];
}

/** One request that the router has matched. */
export interface Matched {
  req: IncomingMessage;
  res: ServerResponse;
  ctx: Context;
  /** The values of the path's placeholders, decoded. */
  inPath: Record<string, string>;
}

/**
 * Serves one request from the credential to the answer: limits come before the body is read, whoever may not do
 * it is refused before anything is validated, and what is not valid never becomes a call.
 */
export async function serve(deps: ServeDeps, endpoint: Endpoint, matched: Matched): Promise<void> {
  const { req, res } = matched;
  try {
    await answer(deps, endpoint, matched);
  } catch (error) {
    sendError(deps, req, res, error, endpoint.route.access === "signed");
  }
  log(deps.logger, endpoint, req, res);
}

async function answer(
  deps: ServeDeps,
  endpoint: Endpoint,
  { req, res, ctx, inPath }: Matched,
): Promise<void> {
  const { route } = endpoint;
  const { clientIp } = exchangeOf(req);
  nameHttpSpan(req, BASE_PATH + route.path);
  const wants: LimitKey[] = route.limit ? [{ name: route.limit, subject: networkOf(clientIp) }] : [];
  const proved = await authenticate(endpoint, req, deps.verifier).catch(async (error) => {
    await count(deps.limiter, req, wants);
    throw error;
  });
  if (proved) wants.push({ name: "user", subject: proved.caller.id });
  await count(deps.limiter, req, wants);
  if (proved) authorize(endpoint, proved);
  const { params, raw } = await readRequest(endpoint, req, inPath);
  const meta: Meta = metaOf(endpoint, req, proved, raw);
  if (proved && route.content === "events") {
    const { orderId } = params as { orderId: string };
    const watcher = {
      orderId,
      userId: proved.caller.id,
      afterVersion: afterVersion(req.headers["last-event-id"]?.toString()),
      ...orderReader(ctx, orderId, meta),
    };
    const { isHead, standings } = exchangeOf(req);
    return await deps.streams[isHead ? "describe" : "open"](watcher, res, limitHeaders(standings));
  }
  const ask = () => ctx.call(route.action, params, { meta });
  const key = cacheKeyOf(endpoint, proved, params);
  if (key !== undefined) {
    sendRead(req, res, await deps.kept.get(key, async () => bytesOf(endpoint, await ask())));
    return;
  }
  sendResult(
    endpoint,
    req,
    res,
    await ask().finally(() => {
      // Whoever changes something here finds it changed here, without waiting for the news of it; so does whoever was
      // not told how it ended.
      if (route.method !== "GET") deps.kept.outdated(route.action);
    }),
  );
}

/** Answers with the problem; what nobody foresaw is logged whole and told to nobody. */
export function sendError(
  deps: Pick<ServeDeps, "docsUrl" | "logger">,
  req: IncomingMessage,
  res: ServerResponse,
  error: unknown,
  sealed = false,
  headers?: Record<string, string>,
): void {
  const { requestId, traceId } = exchangeOf(req);
  const problem = problemOf(error, {
    docsUrl: deps.docsUrl,
    instance: `urn:waybill:request:${requestId}`,
    traceId,
    sealed,
  });
  failHttpSpan(req, problem.document.code.toUpperCase(), problem.unexpected ? error : undefined);
  if (problem.unexpected) deps.logger.error("Unexpected error", { requestId, traceId }, error);
  sendProblem(req, res, problem, headers);
}

function log(
  logger: ServiceBroker["logger"],
  { operation, route }: Endpoint,
  req: IncomingMessage,
  res: ServerResponse,
): void {
  const { requestId, traceId, startedMs } = exchangeOf(req);
  const durationMs = Math.round(performance.now() - startedMs);
  // The operation and not the target: paths and queries hold tracking tokens and names.
  const line = { status: res.statusCode, durationMs, requestId, traceId };
  if (route.method === "GET" && res.statusCode < 500) logger.debug(operation, line);
  else logger.info(operation, line);
}
