import { Transporters } from "moleculer";
import type { NatsOptions } from "../../providers/message-bus/index.ts";

/** `orders.1f2e3d4c`: the service and the process. */
const NODE_ID = /^[a-z][a-z0-9-]*\.[a-z0-9-]+$/;

type Packet = Parameters<InstanceType<typeof Transporters.NATS>["publish"]>[0];

interface Received {
  subject: string;
  data: Uint8Array;
}

/**
 * Moleculer's NATS transporter with the sender in the subject of each packet, so that the permissions of the server
 * apply to it: `MOL-waybill.REQ.gateway.1f2e3d4c.orders.9a8b7c6d` is a request of a gateway to a node of orders, and
 * only the user `gateway` may publish under `MOL-waybill.*.gateway.`. A packet whose content names another sender
 * than its subject is dropped. With Moleculer's own subjects, every node could announce services, answer
 * requests and disconnect in the name of any other node.
 *
 * After a reconnect it sends its services to the others at once and requests theirs. Moleculer's transporter waits for
 * their next heartbeat.
 */
export function natsTransporter(options: NatsOptions): InstanceType<typeof Transporters.NATS> {
  return new SenderBoundTransporter(options as object);
}

class SenderBoundTransporter extends Transporters.NATS {
  /** The sender of each received packet, from its subject, which the server has authorized. */
  readonly #senders = new WeakMap<Buffer, string>();

  override init(...words: Parameters<InstanceType<typeof Transporters.NATS>["init"]>): void {
    super.init(...words);
    this.hasBuiltInBalancer = false; // the registry balances by its strategies, which NATS queue groups do not have
    if (!NODE_ID.test(this.nodeID))
      throw new Error(`a node's id must be like orders.1f2e, not ${this.nodeID}`);
  }

  override async connect(): Promise<void> {
    await super.connect();
    void this.#follow();
  }

  override publish(packet: Packet): Promise<void> {
    const { type, target } = packet as { type: string; target: string | null };
    const topic = [this.prefix, type, this.nodeID, ...(target ? [target] : [])].join(".");
    return this.send(topic, this.serialize(packet));
  }

  override async subscribe(cmd: string, nodeID?: string): Promise<void> {
    const topic = [this.prefix, cmd, "*.*", ...(nodeID ? [nodeID] : [])].join(".");
    this.client.subscribe(topic, {
      callback: (error: Error | null, { subject, data }: Received) => {
        if (error)
          return this.logger.error(`NATS does not let this node subscribe to ${topic}:`, error.message);
        const buffer = Buffer.from(data);
        const [, , service, process] = subject.split(".");
        this.#senders.set(buffer, `${service}.${process}`);
        this.receive(cmd, buffer);
      },
    });
  }

  override deserialize(type: string, buffer: Buffer): Packet {
    const packet = super.deserialize(type, buffer);
    const { sender } = packet.payload as { sender?: string };
    if (sender === undefined || sender !== this.#senders.get(buffer)) {
      throw new Error(`a packet from ${this.#senders.get(buffer)} with the sender ${sender}`);
    }
    return packet;
  }

  async #follow(): Promise<void> {
    for await (const { type } of this.client.status()) {
      if (type === "reconnect") await this.onConnected(true);
    }
  }
}
