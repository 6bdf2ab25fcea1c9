import { Transporters } from "moleculer";
import type { ControlConnection } from "./client.ts";

/**
 * Connects a broker of this process to the brokers of a platform on the same machine over its control socket. It
 * replaces NATS there.
 */
export class SocketTransporter extends Transporters.Base {
  readonly #connection: ControlConnection;

  constructor(connection: ControlConnection) {
    super({});
    this.#connection = connection;
  }

  override async connect(): Promise<void> {
    await this.onConnected();
  }

  override async disconnect(): Promise<void> {
    this.connected = false;
  }

  override async subscribe(cmd: string, nodeID?: string): Promise<void> {
    this.#connection.subscribe(this.getTopicName(cmd, nodeID), (data) => {
      void this.receive(cmd, data);
    });
  }

  /** Never called: without a built-in balancer, each packet has the id of its target node. */
  override async subscribeBalancedRequest(): Promise<void> {}
  override async subscribeBalancedEvent(): Promise<void> {}

  override async send(topic: string, data: Buffer): Promise<void> {
    this.#connection.publish(topic, data);
  }
}
