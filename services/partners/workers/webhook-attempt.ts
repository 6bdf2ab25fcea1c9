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
import { retryAfterMs } from "../domain/webhook-schedule.ts";
import type { ClaimedTry, TryResult } from "../store/webhook-queue.repository.ts";
import { secretsOf } from "../store/webhook-secrets.ts";
import { signedHeaders } from "../store/webhook-signature.ts";

const RESPONSE_HEAD_BYTES = 1_024;
const ERROR_MAX = 200;
const GONE = 410;
const USER_AGENT = "Waybill-Webhooks/1";

export interface AttemptOptions {
  keys: EncryptionKeys;
  guard: GuardOptions;
  timeoutMs: number;
  /** Breaks the call off, because this process stops. */
  signal: AbortSignal;
}

/** The input of one try. */
export type DeliveryAttempt = Omit<ClaimedTry, "claims">;

/** What one try came to. */
export interface AttemptResult extends Omit<TryResult, "state"> {
  accepted: boolean;
  /** The endpoint said that it is gone for good. */
  gone: boolean;
  /** Whose doing it is that the partner's system was not reached; absent when it answered. */
  fault?: "partner" | "no_endpoint" | "platform";
  retryAfterMs?: number | undefined;
}

/** Makes one try. Never rejects: whatever goes wrong is how the try ended. */
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
  if (!webhookEnabled) return unanswered("the endpoint is disabled", "no_endpoint");
  if (claimed.remainingMs !== undefined && claimed.remainingMs < 0) return unanswered("the deadline is past");
  let secrets: string[];
  try {
    secrets = secretsOf(claimed, options.keys, partnerId, nowMs);
  } catch (error) {
    return unanswered(`the webhook secret cannot be decrypted: ${(error as Error).message}`, "platform");
  }
  if (apiUrl === undefined || secrets.length === 0) {
    return unanswered("no endpoint has been set up", "no_endpoint");
  }
  try {
    const headers = {
      "content-type": "application/json",
      "user-agent": USER_AGENT,
      ...signedHeaders(claimed.messageId, claimed.body, secrets, nowMs),
    };
    const response = await traced(claimed, apiUrl, (context) =>
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
    return answered(response, nowMs);
  } catch (error) {
    const { message, kind } = error as Partial<GuardedRequestError> & Error;
    return unanswered(message, kind === "local" ? "platform" : "partner");
  }
}

function answered(
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

function unanswered(
  error: string,
  fault: AttemptResult["fault"] = "partner",
): Omit<AttemptResult, "durationMs"> {
  return { accepted: false, gone: false, fault, error: shortenLine(error, ERROR_MAX) };
}

/** Text that a person may be shown and a database stores. */
function printable(body: Buffer): string {
  return shorten(body.toString("utf8").trim(), RESPONSE_HEAD_BYTES);
}

/** A span for the call, below the work of making this try; without telemetry the trace goes on all the same. */
async function traced(
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
  const work = async () => {
    const response = await post({ ...(traceparent && { traceparent }), ...traceHeaders() });
    const span = trace.getActiveSpan();
    span?.setAttribute("http.response.status_code", response.status);
    if (response.status >= 300) {
      span?.setAttribute("error.type", String(response.status)).setStatus({ code: SpanStatusCode.ERROR });
    }
    return response;
  };
  return await inTraceOf(currentTraceparent(), "POST", work, { kind: SpanKind.CLIENT, attributes });
}
