import { execFile } from "node:child_process";
import { globSync } from "node:fs";
import { promisify } from "node:util";
import { afterAll, describe, expect, it } from "@jest/globals";
import { ServiceBroker } from "moleculer";
import { SettingsError } from "../../lib/settings/settings.ts";
import { runnerOptions } from "../../platform/runner-node.ts";
import { serviceSchemas } from "../../platform/services.ts";

const NATS_URL = "nats://127.0.0.1:4222";
const brokers: ServiceBroker[] = [];
afterAll(() => Promise.all(brokers.map((broker) => broker.stop())));

/** A broker as Moleculer's runner makes it from the options of moleculer.config.ts. */
function brokerOf(env: Record<string, string>, words: string[]): ServiceBroker {
  const options = runnerOptions(env, words);
  const broker = new ServiceBroker({ ...options, logger: false, skipProcessEventRegistration: true });
  brokers.push(broker);
  return broker;
}

/** Why the broker does not create the service; undefined when it does. */
async function refusal(broker: ServiceBroker, name: "partners" | "media"): Promise<unknown> {
  const schema = (await serviceSchemas([name])).get(name);
  try {
    if (schema) broker.createService(schema);
  } catch (error) {
    return error;
  }
  return undefined;
}

describe("moleculer.config.ts and the service files", () => {
  it("export options and schemas by default, and can be loaded by require, as moleculer-runner does", async () => {
    const files = ["moleculer.config.ts", ...globSync("services/*/*.service.ts").sort()];
    const script = `for (const file of ${JSON.stringify(files)}) {
      const { default: exported } = require("./" + file);
      console.log(file, exported.name ?? typeof exported.requestTimeout);
    }`;
    const { stdout } = await promisify(execFile)(process.execPath, ["-e", script], {
      env: { PATH: process.env.PATH },
    });
    const names = files.slice(1).map((file) => `${file} ${file.split("/")[1]}`);
    expect(stdout.trim().split("\n")).toEqual(["moleculer.config.ts number", ...names]);
  });
});

describe("the node of Moleculer's runner", () => {
  it("has the name of the service in the command or SERVICES, as NATS requires", () => {
    const nameOf = (env: Record<string, string>, words: string[]) =>
      brokerOf({ NATS_URL, ...env }, words).nodeID.replace(/\.[0-9a-f]{8}$/, ".*");
    expect(nameOf({}, ["--repl", "services/partners/partners.service.ts"])).toBe("partners.*");
    expect(nameOf({}, ["/srv/services/services/media"])).toBe("media.*");
    expect(nameOf({ SERVICES: "notifications" }, [])).toBe("notifications.*");
    expect(nameOf({}, ["services"])).toBe("gateway.*");
  });

  it("with an invalid setting, is refused", () => {
    expect(() => runnerOptions({ LOG_LEVEL: "loud" }, [])).toThrow(SettingsError);
  });

  it("without the settings of a service, refuses this service with their names", async () => {
    const broker = brokerOf({ SEAL_SECRET: "seal-secret-of-the-tests-0123456789ab" }, [
      "services/partners/partners.service.ts",
    ]);
    const error = (await refusal(broker, "partners")) as SettingsError;
    expect(error.lines.map((line) => line.split(" ")[0])).toEqual([
      ...["NATS_URL", "PUBLIC_URL", "POSTGRES_URL_PARTNERS", "BRIDGE_SECRET"],
    ]);
  });

  it("with other broker options, refuses a service and names the required file", async () => {
    const broker = new ServiceBroker({ logger: false, skipProcessEventRegistration: true });
    brokers.push(broker);
    expect(await refusal(broker, "media")).toMatchObject({
      message: "media needs a broker with the options of moleculer.config.ts",
    });
  });
});
