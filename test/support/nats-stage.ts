import { afterEach, beforeEach } from "@jest/globals";
import { connect, type JetStreamManager } from "nats";
import { type NatsServer, startNats } from "../servers/nats.ts";
import { type MessagingBench, messagingBench } from "./messaging.ts";
import { messageBuses } from "./nats.ts";

export interface NatsStage {
  server: NatsServer;
  bench: MessagingBench;
  net: ReturnType<typeof messageBuses>;
  /** Runs work of an operator on the streams. */
  managed(work: (manager: JetStreamManager) => Promise<unknown>): Promise<void>;
}

/** A server of NATS, with senders and receivers on it, for each test of the file that calls this. */
export function natsStage(): NatsStage {
  const stage = {
    async managed(work) {
      const connection = await connect({ servers: stage.server.url });
      await work(await connection.jetstreamManager());
      await connection.close();
    },
  } as NatsStage;
  beforeEach(async () => {
    [stage.server, stage.bench] = await Promise.all([startNats(), messagingBench()]);
    stage.net = messageBuses(stage.server);
  });
  afterEach(async () => {
    await stage.bench.stop();
    await stage.net.close();
    await stage.server.remove();
  });
  return stage;
}
