import type { EventEmitter } from "node:events";
import { ServiceBroker } from "moleculer";

/** Moleculer's in-memory transporter passes packets between the brokers of a process through this emitter. */
declare global {
  var bus: EventEmitter;
}

type Packet = { subscribe: string } | { topic: string; data: string };

/**
 * Connects a broker of another process to the in-memory transporter of this one. When its connection ends, the relay
 * sends DISCONNECT for it; otherwise calls to it would wait for the heartbeat timeout.
 */
export function busRelay(namespace: string, deliver: (topic: string, data: Buffer) => void) {
  const prefix = `MOL-${namespace}.`;
  const subscriptions = new Map<string, (data: Buffer) => void>();
  const senders = new Set<string>();
  return {
    /** @throws Error for a topic of another platform, which ends the connection */
    receive(packet: Packet): void {
      const topic = "subscribe" in packet ? packet.subscribe : packet.topic;
      if (!topic.startsWith(prefix)) throw new Error("a topic of another platform");
      if (!("subscribe" in packet)) {
        const data = Buffer.from(packet.data, "base64");
        if (topic === `${prefix}HEARTBEAT` || topic === `${prefix}INFO`) senders.add(senderOf(data));
        globalThis.bus.emit(topic, data);
      } else if (!subscriptions.has(topic)) {
        const handler = (data: Buffer) => deliver(topic, data);
        subscriptions.set(topic, handler);
        globalThis.bus.on(topic, handler);
      }
    },
    close(): void {
      for (const [topic, handler] of subscriptions) globalThis.bus.off(topic, handler);
      for (const sender of senders) {
        const farewell = { ver: ServiceBroker.PROTOCOL_VERSION, sender };
        globalThis.bus.emit(`${prefix}DISCONNECT`, Buffer.from(JSON.stringify(farewell)));
      }
    },
  };
}

function senderOf(data: Buffer): string {
  return (JSON.parse(data.toString()) as { sender: string }).sender;
}
