import type { Bank, BankAdapter } from "./port.ts";
import { sandboxBank } from "./sandbox.ts";

export * from "./port.ts";

/** Every kind of bank that there is, by the name in `banks.adapter`. */
const adapters: Readonly<Record<string, BankAdapter>> = { sandbox: sandboxBank };

/**
 * A bank, ready to be talked to; nothing is sent yet.
 * @throws Error naming the setting that is missing, unknown or of the wrong form, never its value
 */
export function openBank(
  adapterName: string,
  settings: Readonly<Record<string, string>>,
  webcheckoutUrl: string,
): Bank {
  const adapter = Object.hasOwn(adapters, adapterName) ? adapters[adapterName] : undefined;
  if (!adapter) throw new Error("there is no such adapter");
  for (const name of adapter.settings) if (!settings[name]) throw new Error(`${name} is missing`);
  for (const name in settings) if (!adapter.settings.includes(name)) throw new Error(`${name} is unknown`);
  return adapter.open(settings, webcheckoutUrl);
}
