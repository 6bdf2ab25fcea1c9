/**
 * The error of every message bus. `not-ready`: a consumer group has not subscribed yet; `refused`: a group or the
 * broker rejected the messages; `closed`: this bus was closed; `unreachable`: the broker does not answer; `denied`:
 * the broker refuses the user or the operation; `full`: the stream is full.
 */
export class MessageBusError extends Error {
  readonly kind: "not-ready" | "refused" | "closed" | "unreachable" | "denied" | "full";

  constructor(kind: MessageBusError["kind"], message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "MessageBusError";
    this.kind = kind;
  }
}
