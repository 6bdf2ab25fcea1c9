import type { BrokerOptions, Middleware } from "moleculer";
import { sharedServer } from "moleculer-grpc";
import { type ServiceName, serviceNames } from "../lib/settings/catalogue.ts";
import { missingSettings } from "../lib/settings/required-settings.ts";
import { readSettings, type Settings, SettingsError } from "../lib/settings/settings.ts";
import { supplyDependencies } from "../mixins/node-dependencies/node-dependencies.mixin.ts";
import type { MessageBus } from "../providers/message-bus/index.ts";
import { inMemoryTransport } from "./cluster-transport.ts";
import { checkSchema, databases } from "./migrate.ts";
import { natsMessageBus, natsTransport } from "./nats-transport.ts";
import { nodeOptions } from "./node.ts";
import { operationsService } from "./operations/operations-service.ts";
import { dataDirOf, postgresUrlName } from "./settings.ts";
import { stopTelemetry } from "./telemetry.ts";

const SERVICE_PATH = new RegExp(`(?:^|/)services/(${serviceNames.join("|")})(?:/|$)`);

type Env = Record<string, string | undefined>;

/**
 * The options of a node that Moleculer's runner starts with some of the services. Reading them opens no connection. A
 * setting that is missing is reported when the runner creates the service that needs it.
 * @param words the arguments of the command
 * @throws SettingsError for a setting that cannot be read
 */
export function runnerOptions(env: Env, words: readonly string[]): BrokerOptions {
  const config = readSettings(env, { checkRequired: false });
  const services = env.SERVICES ? config.SERVICES : servicesIn(words);
  const [first = "api", ...more] = services;
  // A setting that no service of this node requires may be missing. `missingSettings` checks each service at its creation.
  const settings = { ...config, SERVICES: services, DATA_DIR: dataDirOf(config) } as Settings;
  const { NATS_URL } = settings;
  const transport = NATS_URL ? natsTransport({ ...settings, NATS_URL }) : inMemoryTransport(settings);
  const options = nodeOptions({
    ...{ settings, services: [first, ...more], transport },
    listener: sharedServer(),
    outer: [runnerNode(env, settings)],
  });
  // The runner leaves it to the broker to stop at SIGTERM.
  return { ...options, skipProcessEventRegistration: false };
}

/** The services whose files or folders the arguments name, as `services/partners/partners.service.ts`; otherwise all. */
function servicesIn(words: readonly string[]): readonly ServiceName[] {
  const named = new Set(words.map((word) => SERVICE_PATH.exec(word)?.[1]));
  const services = serviceNames.filter((name) => named.has(name));
  return services.length > 0 ? services : serviceNames;
}

/** Does for a runner's node what the launcher does for its nodes: dependencies, schema check, clean end. */
function runnerNode(env: Env, settings: Settings): Middleware {
  let messageBus: MessageBus | undefined;
  return {
    name: "runnerNode",
    created(broker) {
      supplyDependencies(broker, (service) => {
        const lines = missingSettings(env, [service]);
        const { NATS_URL } = settings;
        if (lines.length > 0 || !NATS_URL) throw new SettingsError(lines);
        messageBus ??= natsMessageBus({ ...settings, NATS_URL }, (line) => broker.logger.warn(line));
        return { config: settings, messageBus };
      });
      broker.createService(operationsService(broker));
    },
    async starting(broker) {
      const own = databases.filter((database) => broker.getLocalService(database));
      await Promise.all(own.map((database) => checkSchema(database, settings[postgresUrlName(database)])));
    },
    async stopped() {
      await messageBus?.close();
      await stopTelemetry();
    },
  };
}
