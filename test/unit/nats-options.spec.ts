import { describe, expect, it } from "@jest/globals";
import { natsOptions } from "../../providers/message-bus/nats-options.ts";

describe("natsOptions", () => {
  it("of a user, give it an inbox of its own and reconnect without end", () => {
    const url = { NATS_URL: "nats://nats:4222" };
    expect(natsOptions({ ...url, NATS_USER: "orders", NATS_PASSWORD: "secret" })).toMatchObject({
      servers: ["nats:4222"],
      user: "orders",
      pass: "secret",
      inboxPrefix: "_INBOX.orders",
      maxReconnectAttempts: -1,
      pingInterval: 10_000,
    });
    expect(natsOptions(url)).not.toHaveProperty("user");
    expect(natsOptions(url)).not.toHaveProperty("tls");
  });

  it("of a URL with a user and TLS, use both; a setting has priority", () => {
    const url = { NATS_URL: "tls://ann:a%2Fb@nats.example:4443" };
    expect(natsOptions(url)).toMatchObject({
      servers: ["nats.example:4443"],
      user: "ann",
      pass: "a/b",
      tls: {},
    });
    expect(natsOptions({ ...url, NATS_USER: "orders", NATS_PASSWORD: "p" })).toMatchObject({
      user: "orders",
      pass: "p",
    });
  });

  it("are a new object each time, because the receiver may change it", () => {
    const config = { NATS_URL: "nats://nats:4222" };
    expect(natsOptions(config)).not.toBe(natsOptions(config));
  });
});
