import type { Message, MessageType } from "../../contracts/messages.ts";
import { waitAtMost } from "../../lib/timeout.ts";
import { MessageBusError } from "./error.ts";
import type { MessageBus } from "./port.ts";

const JOIN_TIMEOUT_MS = 2_000;

interface InProcessOptions {
  /** The groups that must have subscribed before a message is accepted, so that none misses a message at start. */
  groups: readonly string[];
  /** How long a `publish` waits for the groups. Default: two seconds. */
  joinTimeoutMs?: number;
}

interface Subscription {
  types: ReadonlySet<MessageType>;
  accept: (messages: readonly unknown[]) => Promise<void>;
}

/**
 * The message bus of a platform in one process. It stores nothing: `publish` resolves when every group has committed
 * the messages to its inbox. Rejected messages stay in the sender's outbox.
 */
export function inProcessMessageBus({
  groups,
  joinTimeoutMs = JOIN_TIMEOUT_MS,
}: InProcessOptions): MessageBus {
  // By group. Several members of a group receive messages in turn.
  const subscriptions = new Map<string, Subscription[]>();
  const running = new Set<Promise<unknown>>();
  let closed = false;
  let joined = Promise.withResolvers<void>();

  const missing = () => groups.filter((group) => !subscriptions.has(group));

  const track = async <T>(work: Promise<T>): Promise<T> => {
    running.add(work);
    try {
      return await work;
    } finally {
      running.delete(work);
    }
  };

  const waitForAll = async () => {
    if (missing().length === 0) return;
    await waitAtMost(joinTimeoutMs, joined.promise);
    if (closed) throw new MessageBusError("closed", "the message bus is closed");
    if (missing().length > 0)
      throw new MessageBusError("not-ready", `not subscribed yet: ${missing().join(", ")}`);
  };

  const deliver = async (messages: readonly Message[]) => {
    const results = await Promise.allSettled(
      [...subscriptions].map(async ([group, members]) => {
        const member = members.shift() as Subscription;
        members.push(member);
        const { types, accept } = member;
        const wanted = messages.filter(({ type }) => types.has(type));
        if (wanted.length === 0) return;
        await accept(wanted).catch((cause) => {
          throw new MessageBusError("refused", `${group}: ${cause}`);
        });
      }),
    );
    const refusal = results.find((result) => result.status === "rejected");
    if (refusal) throw refusal.reason;
  };

  return {
    async publish(messages) {
      if (closed) throw new MessageBusError("closed", "the message bus is closed");
      await waitForAll();
      await track(deliver(messages));
    },
    async subscribe(group, types, accept) {
      if (closed) throw new MessageBusError("closed", "the message bus is closed");
      const subscription = { types: new Set(types), accept };
      subscriptions.set(group, [...(subscriptions.get(group) ?? []), subscription]);
      if (missing().length === 0) joined.resolve();
      return async () => {
        const others = subscriptions.get(group)?.filter((member) => member !== subscription) ?? [];
        if (others.length > 0) subscriptions.set(group, others);
        else subscriptions.delete(group);
        if (missing().length > 0) joined = Promise.withResolvers<void>();
        await Promise.allSettled(running);
      };
    },
    async ready() {
      return !closed && missing().length === 0;
    },
    async close() {
      closed = true;
      joined.resolve();
      await Promise.allSettled(running);
      subscriptions.clear();
    },
  };
}
