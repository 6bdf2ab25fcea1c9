import { Errors } from "moleculer";
import { type FieldError, MessageError } from "./message-codec.ts";

export type BridgeErrorType =
  | "VALIDATION_ERROR"
  | "PAYLOAD_TOO_LARGE"
  | "SERVICE_UNAVAILABLE"
  | "DEADLINE_EXCEEDED"
  | "OVERLOADED"
  | "INTERNAL";

/** An error as it travels between nodes. */
export interface PlainError {
  name: string;
  message: string;
  code: number;
  type?: string;
  data?: unknown;
  retryable: boolean;
  nodeID?: string;
}

/** The errors of an application: give your own to keep to one catalogue of errors. */
export interface BridgeErrors {
  /** Makes an error of the bridge itself. @param data for VALIDATION_ERROR: `{ errors: FieldError[] }` */
  create(type: BridgeErrorType, message?: string, data?: { errors: readonly FieldError[] }): Error;
  /** The text of an error that plain clients may read; undefined shows the name of the gRPC status alone. */
  publicText(error: PlainError): string | undefined;
}

const CODES: Readonly<Record<BridgeErrorType, number>> = {
  VALIDATION_ERROR: 422,
  PAYLOAD_TOO_LARGE: 413,
  SERVICE_UNAVAILABLE: 503,
  DEADLINE_EXCEEDED: 504,
  OVERLOADED: 503,
  INTERNAL: 500,
};
/** The same call may succeed a moment later; the broker repeats it where the action's retry policy allows that. */
const RETRYABLE: ReadonlySet<BridgeErrorType> = new Set(["SERVICE_UNAVAILABLE", "OVERLOADED"]);

export const defaultErrors: BridgeErrors = {
  create(type, message = type, data) {
    const code = CODES[type];
    if (RETRYABLE.has(type)) return new Errors.MoleculerRetryableError(message, code, type, data);
    if (code < 500) return new Errors.MoleculerClientError(message, code, type, data);
    // Moleculer's class for server errors is retryable by default.
    return Object.assign(new Errors.MoleculerServerError(message, code, type, data), { retryable: false });
  },
  publicText: ({ code, message }) => (code < 500 ? message : undefined),
};

/** VALIDATION_ERROR with the fields that a codec found wrong; any other thrown value unchanged. */
export function asValidationError(errors: BridgeErrors, thrown: unknown): unknown {
  if (!(thrown instanceof MessageError)) return thrown;
  const [first] = thrown.problems;
  return errors.create("VALIDATION_ERROR", `${first?.field}: ${first?.message}`, { errors: thrown.problems });
}
