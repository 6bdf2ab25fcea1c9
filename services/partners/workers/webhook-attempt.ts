import { SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import type { EncryptionKeys } from "../../../lib/encryption.ts";
import {
  type GuardedRequestError,
  type GuardedResponse,
  type GuardOptions,
  guardedPost,
} from "../../../lib/net/guarded-request.ts";
import { shorten, shortenLine } from "../../../lib/text.ts";
import {
  currentTraceparent,
  inTraceOf,
  type TraceHeaders,
  traceHeaders,
} from "../../../lib/tracing/index.ts";
import { signedHeaders } from "../../../lib/webhook-signature.ts";
import { retryAfterMs } from "../domain/webhook-schedule.ts";
import type { AttemptRecord, ClaimedAttempt } from "../store/webhook-queue.repository.ts";
import { validSecrets } from "../use-cases/webhook-secrets.ts";

const RESPONSE_HEAD_BYTES = 1_024;
const ERROR_MAX = 200;
const GONE = 410;
const USER_AGENT = "Waybill-Webhooks/1";

export interface AttemptOptions {
  keys: EncryptionKeys;
  guard: GuardOptions;
  timeoutMs: number;
  /** Aborts the call when the process stops. */
  signal: AbortSignal;
}

/** The input of one attempt. */
export type DeliveryAttempt = Omit<ClaimedAttempt, "claims">;

/** The result of one attempt. */
export interface AttemptResult extends Omit<AttemptRecord, "state"> {
  accepted: boolean;
  /** The endpoint answered 410 Gone. */
  gone: boolean;
  /** Cause when the partner's system was not reached; absent when it answered. */
  fault?: "partner" | "no_endpoint" | "platform";
  retryAfterMs?: number | undefined;
}

/** Makes one attempt. Never rejects: every error becomes a result. */
export async function attemptDelivery(
  claimed: DeliveryAttempt,
  options: AttemptOptions,
  nowMs: number,
): Promise<AttemptResult> {
  const startedMs = performance.now();
  const outcome = await attempt(claimed, options, nowMs);
  return { ...outcome, durationMs: Math.round(performance.now() - startedMs) };
}

async function attempt(
  claimed: DeliveryAttempt,
  options: AttemptOptions,
  nowMs: number,
): Promise<Omit<AttemptResult, "durationMs">> {
  const { apiUrl, webhookEnabled, partnerId } = claimed;
  if (!webhookEnabled) return failureOutcome("the endpoint is disabled", "no_endpoint");
  if (claimed.remainingMs !== undefined && claimed.remainingMs < 0)
    return failureOutcome("the deadline is past");
  let secrets: string[];
  try {
    secrets = validSecrets(claimed, options.keys, partnerId, nowMs);
  } catch (error) {
    return failureOutcome(`the webhook secret cannot be decrypted: ${(error as Error).message}`, "platform");
  }
  if (apiUrl === undefined || secrets.length === 0) {
    return failureOutcome("no endpoint has been set up", "no_endpoint");
  }
  try {
    const headers = {
      "content-type": "application/json",
      "user-agent": USER_AGENT,
      ...signedHeaders(claimed.messageId, claimed.body, secrets, nowMs),
    };
    const response = await postInSpan(claimed, apiUrl, (context) =>
      guardedPost(
        {
          url: apiUrl,
          headers: { ...headers, ...context },
          body: claimed.body,
          timeoutMs: options.timeoutMs,
          maxBodyBytes: RESPONSE_HEAD_BYTES,
          signal: options.signal,
        },
        options.guard,
      ),
    );
    return responseOutcome(response, nowMs);
  } catch (error) {
    const { message, kind } = error as Partial<GuardedRequestError> & Error;
    return failureOutcome(message, kind === "local" ? "platform" : "partner");
  }
}

function responseOutcome(
  { status, headers, body }: GuardedResponse,
  nowMs: number,
): Omit<AttemptResult, "durationMs"> {
  return {
    accepted: status >= 200 && status < 300,
    gone: status === GONE,
    statusCode: status,
    responseHead: printable(body),
    retryAfterMs: retryAfterMs(headers["retry-after"], nowMs),
  };
}

function failureOutcome(
  error: string,
  fault: AttemptResult["fault"] = "partner",
): Omit<AttemptResult, "durationMs"> {
  return { accepted: false, gone: false, fault, error: shortenLine(error, ERROR_MAX) };
}

/** Shortens a response body to a text that the database can store. */
function printable(body: Buffer): string {
  return shorten(body.toString("utf8").trim(), RESPONSE_HEAD_BYTES);
}

/** Makes the call in a client span. Without telemetry it still propagates the trace context of the message. */
async function postInSpan(
  claimed: DeliveryAttempt,
  url: string,
  post: (trace: TraceHeaders) => Promise<GuardedResponse>,
): Promise<GuardedResponse> {
  const { traceparent } = claimed;
  const attributes = {
    "http.request.method": "POST",
    "http.request.resend_count": claimed.attempt - 1,
    "server.address": new URL(url).hostname,
    "waybill.webhook.type": claimed.type,
    "waybill.webhook.id": claimed.messageId,
  };
  const postAndRecord = async () => {
    const response = await post({ ...(traceparent && { traceparent }), ...traceHeaders() });
    const span = trace.getActiveSpan();
    span?.setAttribute("http.response.status_code", response.status);
    if (response.status >= 300) {
      span?.setAttribute("error.type", String(response.status)).setStatus({ code: SpanStatusCode.ERROR });
    }
    return response;
  };
  return await inTraceOf(currentTraceparent(), "POST", postAndRecord, { kind: SpanKind.CLIENT, attributes });
}
