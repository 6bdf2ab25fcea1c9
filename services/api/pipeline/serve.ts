import type { IncomingMessage, ServerResponse } from "node:http";
import { Context, type ServiceBroker } from "moleculer";
import { call } from "../../../contracts/actions.ts";
import { fail } from "../../../contracts/errors.ts";
import type { Caller, Ctx, Meta } from "../../../contracts/meta.ts";
import { networkOf } from "../../../lib/net/network-of.ts";
import { failHttpSpan, nameHttpSpan } from "../../../lib/tracing/index.ts";
import type { TokenVerifier } from "../../../mixins/caller/token-verifier.ts";
import type { OwnAction, OwnActions, RoutableParams } from "../actions/contract.ts";
import { encodeAnswer, sendProblem, sendRead, sendResult } from "../answers/answer.ts";
import type { ExportFiles } from "../answers/export-file.ts";
import { EXPORT_PAGE, type OrderExports, requireExportPeriod } from "../answers/orders-csv.ts";
import { problemOf } from "../answers/problem.ts";
import { cacheKeyOf, type ResponseCache } from "../answers/response-cache.ts";
import { requestContextOf } from "../edge/request-head.ts";
import { type LogStreams, resumePlace } from "../events/log-streams.ts";
import { type OrderStreams, orderReader, resumeVersion } from "../events/order-events.ts";
import type { Admission, AdmittedCall } from "../limits/admission.ts";
import type { LimitKey } from "../limits/limits.ts";
import { BASE_PATH } from "../routes/index.ts";
import type { Endpoint } from "./endpoint.ts";
import { metaOf, readRequest } from "./request.ts";

/** They read PostgreSQL and wait for nothing else, so their durations show how loaded the platform is. */
const SAMPLED_ACTIONS: ReadonlySet<string> = new Set([
  ...["api.check", "identity.profile", "orders.get", "orders.list", "partners.listOffers"],
]);
const BEARER = /^Bearer +([\w.~+/-]+=*) *$/i;

export interface ServeDeps {
  ownActions: OwnActions;
  admission: Admission;
  verifier: TokenVerifier;
  streams: OrderStreams;
  events: LogStreams;
  responseCache: ResponseCache;
  exports: OrderExports;
  exportFiles: ExportFiles;
  docsUrl: string;
  logger: ServiceBroker["logger"];
}

/** A request with the route that the router has found. */
export interface RoutedRequest {
  req: IncomingMessage;
  res: ServerResponse;
  ctx: Context;
  /** The values of the path's placeholders, decoded. */
  inPath: Record<string, string>;
}

/**
 * Serves one request: authenticates, counts limits, checks the role, reads and validates the body, calls the action and
 * sends the answer, in this order.
 */
export async function serve(deps: ServeDeps, endpoint: Endpoint, request: RoutedRequest): Promise<void> {
  const { req, res } = request;
  try {
    await answer(deps, endpoint, request);
  } catch (error) {
    sendError(deps, req, res, error, endpoint.route.access === "signed");
  }
  log(deps.logger, endpoint, req, res);
}

async function answer(deps: ServeDeps, endpoint: Endpoint, request: RoutedRequest): Promise<void> {
  const { route } = endpoint;
  const { req, res, ctx, inPath } = request;
  const { clientIp, limits } = requestContextOf(req);
  nameHttpSpan(req, BASE_PATH + route.path);
  const keys: LimitKey[] = route.limit ? [{ name: route.limit, subject: networkOf(clientIp) }] : [];
  const authentication = await authenticate(endpoint, req, deps.verifier).catch(async (error) => {
    await limits.count(keys);
    throw error;
  });
  if (authentication) keys.push({ name: "user", subject: authentication.caller.id });
  await limits.count(keys);
  if (authentication) authorize(endpoint, authentication);
  const { params, raw } = await readRequest(endpoint, req, inPath);
  const meta: Meta = metaOf(endpoint, req, authentication?.token, raw);
  if (authentication && route.content === "events") {
    return await openStream(deps, endpoint, request, authentication, params, meta);
  }
  const admit: Admit = (work) =>
    deps.admission.run(admittedCall(endpoint, authentication?.caller, inPath, clientIp), work);
  if (authentication && route.content === "csv") {
    return await sendExport(deps, request, authentication.caller, params, meta, admit);
  }
  if (authentication && route.content === "file") {
    return await sendFile(deps, request, authentication.caller, meta, admit);
  }
  const own = (deps.ownActions as Readonly<Record<string, OwnAction>>)[route.action];
  const callAction = () =>
    admit(() =>
      own
        ? own(ownContext(ctx, params, meta, authentication?.caller))
        : ctx.call(route.action, params, { meta }),
    );
  const key = cacheKeyOf(endpoint, authentication?.caller.role, params);
  if (key !== undefined) {
    const encoded = await deps.responseCache.get(key, async () => encodeAnswer(endpoint, await callAction()));
    return sendRead(req, res, encoded);
  }
  const result = await callAction().finally(() => {
    // A client must read its own write, also before the event about the change arrives, and also after an error: the
    // change may have been made all the same.
    if (route.method !== "GET") deps.responseCache.invalidate(route.action);
  });
  sendResult(endpoint, req, res, result);
}

/** The context of an action of the gateway itself. All its calls share one request timeout, from now on. */
function ownContext(
  parentCtx: Context,
  params: Record<string, unknown>,
  meta: Meta,
  caller: Caller | undefined,
): Ctx<never> {
  const { broker, endpoint } = parentCtx;
  const timeout = broker.options.requestTimeout as number;
  const ctx = Context.create(broker, endpoint as never, params, { parentCtx, meta, timeout }) as Ctx<never>;
  ctx.startHrTime = process.hrtime();
  ctx.locals = { ...(caller && { caller }) };
  return ctx;
}

/** Answers with a stream of events. */
async function openStream(
  { streams, events, verifier }: ServeDeps,
  { route }: Endpoint,
  { req, res, ctx }: RoutedRequest,
  { caller, token }: Authentication,
  params: Record<string, unknown>,
  meta: Meta,
): Promise<void> {
  const { isHead, limits } = requestContextOf(req);
  const lastEventId = req.headers["last-event-id"]?.toString();
  if (route.action === "api.orderEvents") {
    const { orderId } = params as RoutableParams<"api.orderEvents">;
    const subscription = {
      ...{ orderId, caller, afterVersion: resumeVersion(lastEventId) },
      ...orderReader(ctx, orderId, meta),
    };
    return await streams[isHead ? "sendHeaders" : "open"](subscription, res, limits.headers());
  }
  const { partnerId } = params as Partial<RoutableParams<"api.partnerEvents">>;
  if (partnerId) await requirePartner(ctx, partnerId, caller, meta);
  if (isHead) return events.sendHeaders(res, limits.headers());
  const kind = partnerId ? "partner" : route.action === "api.courierEvents" ? "courier" : "operator";
  const verify = () => verifier.verify(token);
  const after = resumePlace(lastEventId);
  await events.open({ kind, caller, after, verify, ...(partnerId && { partnerId }) }, res, limits.headers());
}

/** @throws NOT_FOUND for a partner that does not exist or is not the caller's own */
async function requirePartner(ctx: Context, partnerId: string, caller: Caller, meta: Meta): Promise<void> {
  if (caller.role !== "partner") await call(ctx, "partners.get", { partnerId }, { meta });
  else if (caller.partnerId !== partnerId) throw fail("NOT_FOUND", "There is no such partner.");
}

/** Runs the work as a call of this request, if there is a place for it. */
type Admit = <T>(work: () => Promise<T>) => Promise<T>;

/** Answers with all pages of a list of orders. */
async function sendExport(
  { exports }: ServeDeps,
  { req, res, ctx }: RoutedRequest,
  { id: userId, partnerId }: Caller,
  params: Record<string, unknown>,
  meta: Meta,
  admit: Admit,
): Promise<void> {
  const filter = params as unknown as RoutableParams<"api.ordersCsv">;
  requireExportPeriod(filter);
  // The list of staff also has the orders that they made as customers.
  const own = { ...filter, limit: EXPORT_PAGE, ...(partnerId && { partnerId }) };
  const read = (cursor?: string) => call(ctx, "orders.list", { ...own, ...(cursor && { cursor }) }, { meta });
  // The first page decides whether the export is admitted; later ones would break it off.
  const readPage = (cursor: string | undefined) => (cursor === undefined ? admit(read) : read(cursor));
  await exports.send(userId, readPage, req, res, requestContextOf(req).limits.headers());
}

/** Answers with all pages of the caller's export. */
async function sendFile(
  { exportFiles }: ServeDeps,
  { req, res, ctx }: RoutedRequest,
  { id }: Caller,
  meta: Meta,
  admit: Admit,
): Promise<void> {
  const read = (number: number) => call(ctx, "identity.exportPage", { number }, { meta });
  // The first page decides whether the file is admitted; later ones would break it off.
  const readPage = (number: number) => (number === 1 ? admit(() => read(1)) : read(number));
  await exportFiles.send(id, readPage, req, res, requestContextOf(req).limits.headers());
}

/** Callbacks before writes, writes before reads. A sender of callbacks is named by its path and its network. */
function admittedCall(
  { route }: Endpoint,
  caller: Caller | undefined,
  inPath: Record<string, string>,
  clientIp: string,
): AdmittedCall {
  const network = networkOf(clientIp);
  const sender = [network, ...Object.values(inPath)].join(" ");
  const isSample = SAMPLED_ACTIONS.has(route.action);
  if (route.access === "signed") return { class: "callback", tenant: sender, isSample };
  const tenant = caller?.partnerId ?? caller?.id ?? network;
  return { class: route.method === "GET" ? "read" : "write", tenant, isSample };
}

/** The caller, and the token that proves it. */
interface Authentication {
  token: string;
  caller: Caller;
}

/**
 * Verifies the access token. Undefined for operations that need no sign-in; their Authorization header is ignored.
 * @throws UNAUTHENTICATED, SESSION_REVOKED
 */
async function authenticate(
  { route: { access } }: Endpoint,
  req: IncomingMessage,
  verifier: TokenVerifier,
): Promise<Authentication | undefined> {
  if (access === "public" || access === "signed") return undefined;
  const { authorization } = req.headers;
  if (authorization === undefined)
    throw fail("UNAUTHENTICATED", "Send an access token: Authorization: Bearer …");
  const token = BEARER.exec(authorization)?.[1];
  if (token === undefined) throw fail("UNAUTHENTICATED", "The Authorization header holds no bearer token.");
  return { token, caller: await verifier.verify(token) };
}

/** @throws FORBIDDEN unless the operation allows the caller's role */
function authorize({ route: { access } }: Endpoint, { caller }: Authentication): void {
  if (!Array.isArray(access) || access.includes(caller.role)) return;
  if (!(caller.partnerAdmin && access.includes("partner_admin"))) throw fail("FORBIDDEN");
}

/** Answers with a problem document. Unexpected errors are logged in full; the answer holds none of their details. */
export function sendError(
  deps: Pick<ServeDeps, "docsUrl" | "logger">,
  req: IncomingMessage,
  res: ServerResponse,
  error: unknown,
  isUniform = false,
  headers?: Record<string, string>,
): void {
  const { requestId, traceId } = requestContextOf(req);
  const problem = problemOf(error, {
    docsUrl: deps.docsUrl,
    instance: `urn:waybill:request:${requestId}`,
    traceId,
    isUniform,
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
  const { requestId, traceId, startedMs } = requestContextOf(req);
  const durationMs = Math.round(performance.now() - startedMs);
  // Logs the operation, not the URL: paths and queries can hold tracking tokens and names.
  const line = { status: res.statusCode, durationMs, requestId, traceId };
  if (route.method === "GET" && res.statusCode < 500) logger.debug(operation, line);
  else logger.info(operation, line);
}
