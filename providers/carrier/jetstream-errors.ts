import type { NatsError } from "nats";
import { CarrierError } from "./error.ts";

const STORE_FAILED = 10_077;

/** For a `catch`. */
export function explain(stream: string): (error: unknown) => never {
  return (error) => {
    throw explained(error, stream);
  };
}

/** What NATS's client or server says, as the carrier's error. */
export function explained(error: unknown, stream: string): CarrierError {
  if (error instanceof CarrierError) return error;
  const { code, message, api_error, permissionContext } = (error ?? {}) as Partial<NatsError>;
  const cause = { cause: error };
  if (permissionContext) {
    const { operation, subject } = permissionContext;
    return new CarrierError("denied", `NATS does not let this user ${operation} ${subject}`, cause);
  }
  if (code === "AUTHORIZATION_VIOLATION") {
    return new CarrierError("denied", "NATS refuses the user: check NATS_USER and NATS_PASSWORD", cause);
  }
  if (api_error?.err_code === STORE_FAILED) {
    return new CarrierError("full", `the stream ${stream} takes no more: ${api_error.description}`, cause);
  }
  if (api_error) return new CarrierError("refused", `JetStream refuses: ${api_error.description}`, cause);
  return new CarrierError("unreachable", `JetStream does not answer: ${message}`, cause);
}
