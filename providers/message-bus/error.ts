/**
 * What a message bus refuses with. `not-ready`: not everybody is there to take it; `refused`: a group or the broker
 * rejected; `unreachable`: the broker is away; `denied`: it does not know us or does not let us; `full`: its
 * store is.
 */
export class MessageBusError extends Error {
  readonly kind: "not-ready" | "refused" | "closed" | "unreachable" | "denied" | "full";

  constructor(kind: MessageBusError["kind"], message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "MessageBusError";
    this.kind = kind;
  }
}
