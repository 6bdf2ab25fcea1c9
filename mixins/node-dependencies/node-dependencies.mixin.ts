import type { Service, ServiceBroker, ServiceSchema } from "moleculer";
import type { ServiceName } from "../../lib/settings/catalogue.ts";
import type { Settings } from "../../lib/settings/settings.ts";
import type { MessageBus } from "../../providers/message-bus/index.ts";

/** The dependencies that every service gets from its node. */
export interface NodeDependencies {
  config: Settings;
  messageBus: MessageBus;
}

type Supply = (service: ServiceName) => NodeDependencies;
type MergedHook = (this: Service, schema: Partial<ServiceSchema>) => void;

const supplies = new WeakMap<ServiceBroker, Supply>();

/** Call before the broker creates its first service. @param supply is called once for each service that is created */
export function supplyDependencies(broker: ServiceBroker, supply: Supply): void {
  supplies.set(broker, supply);
}

/**
 * Makes the default export of a service file a plain schema that any broker can load: Moleculer's runner and its REPL
 * load the file without arguments. The service is built when a broker creates it, from the dependencies of that node.
 */
export function nodeDependencies(
  name: ServiceName,
  build: (dependencies: NodeDependencies) => ServiceSchema,
): Partial<ServiceSchema> {
  const merged: MergedHook = function (schema) {
    const supply = supplies.get(this.broker);
    if (!supply) throw new Error(`${name} needs a broker with the options of moleculer.config.ts`);
    const built = this.applyMixins(build(supply(name))) as Partial<ServiceSchema> & { merged?: MergedHook[] };
    Object.assign(schema, built);
    // Moleculer has already read the hooks of the exported schema, so those of the built one are run here.
    for (const hook of [built.merged ?? []].flat()) hook.call(this, schema);
  };
  return { merged } as Partial<ServiceSchema>;
}
