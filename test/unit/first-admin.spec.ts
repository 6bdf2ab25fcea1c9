import { afterAll, beforeAll, expect, it } from "@jest/globals";
import { ServiceBroker } from "moleculer";
import { type ErrorType, fail } from "../../contracts/errors.ts";
import { newId } from "../../lib/ids.ts";
import { readSettings, type Settings } from "../../lib/settings/settings.ts";
import { ensureFirstAdmin } from "../../platform/operator.ts";
import type { Topology } from "../../platform/topology.ts";

/** The answers of identity, in this order; after them it makes the account. */
const answers: ErrorType[] = [];
let calls = 0;

const broker = new ServiceBroker({ logger: false });
broker.createService({
  name: "identity",
  actions: {
    createAdmin() {
      calls++;
      const type = answers.shift();
      if (type) throw fail(type);
      return { userId: newId(), created: true };
    },
  },
});
beforeAll(() => broker.start());
afterAll(() => broker.stop());

function start() {
  calls = 0;
  const account = { ADMIN_EMAIL: "admin@example.org", ADMIN_PASSWORD: "Blaubeere-Teppich-91" };
  const settings = readSettings(account) as Settings;
  const topology = { brokerOf: () => broker } as unknown as Topology;
  return ensureFirstAdmin(topology, settings, {
    signal: new AbortController().signal,
    report: () => undefined,
  });
}

it.each<ErrorType>(["OVERLOADED", "SERVICE_UNAVAILABLE"])(
  "the first admin, when identity answers %s, is asked for again",
  async (type) => {
    answers.push(type);
    await start();
    expect(calls).toBe(2);
  },
);

it("the first admin, with the address of another user, is refused at once", async () => {
  answers.push("EMAIL_TAKEN");
  await expect(start()).rejects.toMatchObject({ type: "EMAIL_TAKEN" });
  expect(calls).toBe(1);
});
