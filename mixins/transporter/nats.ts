import { Transporters } from "moleculer";
import type { NatsOptions } from "../../providers/message-bus/index.ts";

/** `orders.1f2e3d4c`: the service that the process runs, and which process. */
const NODE_ID = /^[a-z][a-z0-9-]*\.[a-z0-9-]+$/;

type Packet = Parameters<InstanceType<typeof Transporters.NATS>["publish"]>[0];

interface Arrived {
  subject: string;
  data: Uint8Array;
}

/**
 * Moleculer's NATS transporter with the sender in the subject of each packet, so that the server's permissions
 * hold it: `MOL-waybill.REQ.gateway.1f2e3d4c.orders.9a8b7c6d` is a request of a gateway to a node of orders, and
 * only the user `gateway` may publish under `MOL-waybill.*.gateway.`. A packet whose content names another sender
 * than its subject is dropped. As Moleculer's own subjects are, anybody inside could announce services, answer
 * requests and say goodbye in the name of any node.
 *
 * After a reconnect it tells the others at once what this node offers and asks what they do; Moleculer's waits for
 * their next heartbeat.
 */
export function natsTransporter(options: NatsOptions): InstanceType<typeof Transporters.NATS> {
  return new SenderBoundTransporter(options as object);
}

class SenderBoundTransporter extends Transporters.NATS {
  /** By whom the server let each packet be sent that is being read. */
  readonly #senders = new WeakMap<Buffer, string>();

  override init(...words: Parameters<InstanceType<typeof Transporters.NATS>["init"]>): void {
    super.init(...words);
    this.hasBuiltInBalancer = false; // the registry balances; the broker's queues would not know its strategies
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
      callback: (error: Error | null, { subject, data }: Arrived) => {
        if (error) return this.logger.error(`NATS does not let this node hear ${topic}:`, error.message);
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
      throw new Error(`a packet of ${this.#senders.get(buffer)} in the name of ${sender}`);
    }
    return packet;
  }

  async #follow(): Promise<void> {
    for await (const { type } of this.client.status()) {
      if (type === "reconnect") await this.onConnected(true);
    }
  }
}
