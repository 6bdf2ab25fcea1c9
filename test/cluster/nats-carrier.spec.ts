import { afterAll, beforeAll, describe } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { carrierContract } from "../../providers/carrier/contract.ts";
import { jetStreamCarrier } from "../../providers/carrier/jetstream.ts";
import { natsOptions } from "../../providers/carrier/nats-options.ts";
import { type NatsServer, startNats } from "../servers/nats.ts";

let server: NatsServer;
beforeAll(async () => {
  server = await startNats();
});
afterAll(() => server.remove());

describe("carrier on JetStream", () => {
  carrierContract(async () => {
    const namespace = `t-${newId()}`; // a stream of its own for each test
    return {
      connect: async () => jetStreamCarrier({ nats: natsOptions({ NATS_URL: server.url }), namespace }),
      stop: async () => undefined,
    };
  });
});
