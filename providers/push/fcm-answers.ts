import { byStatus, parsedObject, retryAfterMs, shorten } from "./http.ts";
import type { PushResult } from "./port.ts";

/** An answer of FCM to a message. */
export interface FcmAnswer {
  status: number;
  body: string;
  /** The header, where there is one. */
  retryAfter?: string | null;
}

type Outcome = PushResult["outcome"];

/**
 * By google.firebase.fcm.v1.ErrorCode. After INTERNAL the message may have been sent. For UNSPECIFIED_ERROR and unknown
 * codes the HTTP status decides, for INVALID_ARGUMENT the invalid field.
 */
const OUTCOMES: Readonly<Record<string, Outcome>> = {
  UNREGISTERED: "unregistered",
  SENDER_ID_MISMATCH: "refused",
  THIRD_PARTY_AUTH_ERROR: "refused",
  QUOTA_EXCEEDED: "refused",
  UNAVAILABLE: "refused",
  INTERNAL: "unclear",
};
/** The token belongs to another sender, or to a platform for which the project has no key. */
const OF_ONE_TOKEN = new Set(["SENDER_ID_MISMATCH", "THIRD_PARTY_AUTH_ERROR"]);
const FCM_ERROR = "google.firebase.fcm.v1.FcmError";
const BAD_TOKEN = /registration token is not a valid/i;

interface GoogleError {
  /** Empty where there is none, as the code. */
  message: string;
  code: string;
  details: readonly Fields[];
}
type Fields = Record<string, unknown>;

/** @param nowMs Unix time, for a `Retry-After` that names a moment */
export function fcmResult(answer: FcmAnswer, nowMs: number): PushResult {
  const { status, body } = answer;
  if (status >= 200 && status < 300) {
    const { name } = parsedObject(body);
    return typeof name === "string" && name
      ? { outcome: "accepted", detail: shorten(`message ${name}`) }
      : { outcome: "unclear", detail: `status ${status} without the message's name` };
  }
  const error = errorOf(body);
  const outcome = outcomeOf(status, error);
  const detail = shorten([`status ${status}`, error.code, error.message].filter(Boolean).join(": "));
  const ofThisToken = status === 400 || OF_ONE_TOKEN.has(error.code) || ofOneDevice(error);
  if (ofThisToken && outcome !== "unregistered") return { outcome, detail, concerns: "token" };
  const waitMs = retryAfterMs(answer.retryAfter, nowMs);
  return { outcome, detail, ...(waitMs && { retryAfterMs: waitMs }) };
}

/** Whether our access token was refused. A 401 can also concern the key that FCM uses at Apple. */
export function accessTokenRefused({ status, body }: FcmAnswer): boolean {
  return status === 401 && errorOf(body).code !== "THIRD_PARTY_AUTH_ERROR";
}

function outcomeOf(status: number, { code, message, details }: GoogleError): Outcome {
  const known = OUTCOMES[code];
  if (known) return known;
  const fields = details.flatMap(({ fieldViolations }) =>
    objectsIn(fieldViolations).map(({ field }) => field),
  );
  const tokenIsWrong = status === 400 && (fields.includes("message.token") || BAD_TOKEN.test(message));
  return tokenIsWrong ? "unregistered" : byStatus(status);
}

// A quota of one phone does not concern the others.
function ofOneDevice({ details }: GoogleError): boolean {
  const violations = details.flatMap(({ violations: those }) => objectsIn(those));
  return violations.some(({ subject, description }) => /device/i.test(`${subject} ${description}`));
}

function errorOf(body: string): GoogleError {
  const [error = {}] = objectsIn([parsedObject(body).error]);
  const details = objectsIn(error.details);
  const ofFcm = details.find((detail) => textOf(detail["@type"]).endsWith(FCM_ERROR));
  return {
    message: textOf(error.message),
    code: textOf(ofFcm?.errorCode) || textOf(error.status),
    details,
  };
}

function objectsIn(value: unknown): Fields[] {
  return Array.isArray(value) ? value.filter((one) => typeof one === "object" && one !== null) : [];
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}
