import type { NatsError } from "nats";
import { MessageBusError } from "./error.ts";

const STORE_FAILED = 10_077;

/** A handler for `catch` that throws `toMessageBusError` of the rejection. */
export function rethrow(stream: string): (error: unknown) => never {
  return (error) => {
    throw toMessageBusError(error, stream);
  };
}

/** Maps an error of the NATS client or server. */
export function toMessageBusError(error: unknown, stream: string): MessageBusError {
  if (error instanceof MessageBusError) return error;
  const { code, message, api_error, permissionContext } = (error ?? {}) as Partial<NatsError>;
  const cause = { cause: error };
  if (permissionContext) {
    const { operation, subject } = permissionContext;
    return new MessageBusError("denied", `NATS does not let this user ${operation} ${subject}`, cause);
  }
  if (code === "AUTHORIZATION_VIOLATION") {
    return new MessageBusError("denied", "NATS refuses the user: check NATS_USER and NATS_PASSWORD", cause);
  }
  if (api_error?.err_code === STORE_FAILED) {
    return new MessageBusError("full", `the stream ${stream} is full: ${api_error.description}`, cause);
  }
  if (api_error) return new MessageBusError("refused", `JetStream refuses: ${api_error.description}`, cause);
  return new MessageBusError("unreachable", `JetStream does not answer: ${message}`, cause);
}
