import { Errors } from "moleculer";

interface Entry {
  /** The HTTP status that the gateway answers with. */
  status: number;
  /** One sentence for the reader of an answer. The error's message describes the case at hand. */
  title: string;
  /** Whether the same call may succeed a moment later. Calls are repeated only after such errors. */
  retryable?: true;
}

/**
 * All errors that Waybill answers with. The key is the `type` on the broker and, in lower case, the `code` in a problem
 * document; a released key never changes. docs/errors.md is generated from here.
 */
export const errorCatalogue = {
  // Requests that cannot be understood.
  BAD_JSON: { status: 400, title: "The body is not valid JSON" },
  BAD_REQUEST: { status: 400, title: "The request cannot be understood" },
  VALIDATION_ERROR: { status: 422, title: "A field is missing, unknown or wrong" },
  IDEMPOTENCY_KEY_REQUIRED: { status: 400, title: "This operation needs an Idempotency-Key" },
  IDEMPOTENCY_MISMATCH: { status: 422, title: "The Idempotency-Key was used with another body" },
  IDEMPOTENCY_IN_FLIGHT: { status: 409, title: "A request with this Idempotency-Key is still running" },
  METHOD_NOT_ALLOWED: { status: 405, title: "The resource does not know this method" },
  PAYLOAD_TOO_LARGE: { status: 413, title: "The body is too large" },
  HEADERS_TOO_LARGE: { status: 431, title: "The header fields are too large" },
  REQUEST_TOO_SLOW: { status: 408, title: "The request did not arrive in time" },
  UNSUPPORTED_MEDIA_TYPE: { status: 415, title: "The body's media type is not accepted here" },
  TOO_MANY_REQUESTS: { status: 429, title: "Too many requests" },
  PRECONDITION_FAILED: { status: 412, title: "The resource was changed meanwhile" },
  PRECONDITION_REQUIRED: { status: 428, title: "This operation needs If-Match" },

  // Authentication and permissions.
  UNAUTHENTICATED: { status: 401, title: "Sign in first" },
  REFUND_LIMIT: { status: 403, title: "Your role may not refund so much of an order" },
  FORBIDDEN: { status: 403, title: "Your role may not do this" },
  NOT_FOUND: { status: 404, title: "There is no such resource, or it is not yours" },
  BAD_SIGNATURE: { status: 401, title: "The signature is not valid" },

  // Identity.
  INVALID_CREDENTIALS: { status: 401, title: "E-mail or password is wrong" },
  EMAIL_NOT_CONFIRMED: { status: 403, title: "Confirm your e-mail address first" },
  EMAIL_TAKEN: { status: 409, title: "This e-mail address is in use" },
  CODE_INVALID: { status: 422, title: "The code is wrong or has expired" },
  PASSWORD_TOO_COMMON: { status: 422, title: "This password is among the most used ones" },
  SESSION_REVOKED: { status: 401, title: "The session has ended" },
  ACCOUNT_SUSPENDED: { status: 403, title: "The account is suspended" },
  INVITATION_ENDED: { status: 409, title: "The invitation was accepted or withdrawn" },
  TOO_MANY_MATCHES: { status: 422, title: "The search finds too many entries" },
  INVITATION_INVALID: { status: 422, title: "The invitation is wrong, used or has expired" },

  // Catalogue and check.
  PARTNER_CLOSED: { status: 409, title: "The partner does not take orders now" },
  PRODUCT_UNAVAILABLE: { status: 409, title: "A product is not available in this quantity" },
  PARTNER_EXISTS: { status: 409, title: "A partner with this title exists" },
  CHECK_EXPIRED: { status: 409, title: "The check has expired" },
  CHECK_USED: { status: 409, title: "The check was confirmed with another bank" },
  QUOTE_CHANGED: { status: 409, title: "Price or stock changed since the check" },

  // Orders and money.
  BANK_INACTIVE: { status: 409, title: "The bank is not registered or not active" },
  BANK_UNAVAILABLE: { status: 503, title: "The bank cannot be reached", retryable: true },
  ILLEGAL_TRANSITION: { status: 409, title: "The order's state does not allow this" },
  ORDER_NOT_CANCELLABLE: { status: 409, title: "The order can no longer be cancelled by you" },
  OPEN_ORDERS: { status: 409, title: "You have orders that have not ended" },
  ALREADY_ASSIGNED: { status: 409, title: "Another deliverer has this order" },
  OFFERED_TO_ANOTHER: { status: 409, title: "The order is offered to another deliverer now" },
  COURIER_FULL: { status: 409, title: "You deliver as many orders as you may at once" },
  OFF_DUTY: { status: 409, title: "You are not on duty" },
  ORDER_CHANGED: { status: 409, title: "The order was changed meanwhile", retryable: true },
  WRONG_PICKUP_CODE: { status: 422, title: "This is neither the number nor the pickup code of the order" },
  WRONG_PIN: { status: 422, title: "The PIN is wrong" },
  HANDOVER_LOCKED: { status: 409, title: "Too many wrong PINs: the handover is locked" },
  PROOF_REQUIRED: { status: 422, title: "The partner requires a proof of delivery" },
  PAYMENT_SETTLED: { status: 409, title: "This money is booked, has gone back or is on its way" },
  EVENT_MISMATCH: { status: 409, title: "This event id came before with another body" },

  // Notifications.
  TEMPLATE_EXISTS: { status: 409, title: "There is a text of your own for this event, language and channel" },

  // Media.
  IMAGE_INVALID: { status: 422, title: "The image cannot be read" },
  IMAGE_TOO_LARGE: { status: 422, title: "The image has too many pixels" },

  // Things that are down.
  SERVICE_UNAVAILABLE: { status: 503, title: "A part of the platform cannot be reached", retryable: true },
  DEADLINE_EXCEEDED: { status: 503, title: "The answer took too long" },
  OVERLOADED: { status: 503, title: "The platform is busy", retryable: true },
  INTERNAL: { status: 500, title: "Something went wrong on our side" },
} as const satisfies Record<string, Entry>;

export type ErrorType = keyof typeof errorCatalogue;

export function entryOf(type: string): Entry | undefined {
  return Object.hasOwn(errorCatalogue, type) ? errorCatalogue[type as ErrorType] : undefined;
}

/**
 * Makes an error of the catalogue: `throw fail("CHECK_EXPIRED", "Make a new check.")`. It is an instance of Moleculer's
 * own class, so that the transporter carries it. Callers branch on `type`.
 * @param detail the case at hand and the next step; shown to the caller
 * @param data further values for the caller's program (names in camelCase)
 */
export function fail(type: ErrorType, detail?: string, data?: object): Error {
  const entry: Entry = errorCatalogue[type];
  const message = detail ?? entry.title;
  if (entry.retryable) return new Errors.MoleculerRetryableError(message, entry.status, type, data);
  if (entry.status >= 500) {
    // Moleculer's class for server errors is retryable by default; the catalogue decides instead, also on other nodes.
    const error = new Errors.MoleculerServerError(message, entry.status, type, data);
    return Object.assign(error, { retryable: false });
  }
  return new Errors.MoleculerClientError(message, entry.status, type, data);
}

/** One invalid field. `rule` is the name of the validator's rule. */
export interface FieldError {
  field: string;
  rule: string;
  message: string;
}

/** The error for a field that breaks a rule which no schema can express. */
export function invalidField(field: string, rule: string, message: string): Error {
  return fail("VALIDATION_ERROR", message, { errors: [{ field, rule, message }] satisfies FieldError[] });
}

/** The `type` of a thrown value; undefined for any value that is not an error of the broker. */
export function typeOf(error: unknown): string | undefined {
  return (error as { type?: unknown } | null)?.type as string | undefined;
}
