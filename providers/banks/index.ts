import type { Bank, BankAdapter, BankEnvironment } from "./port.ts";
import { sandboxBank } from "./sandbox.ts";
import { stripeBank } from "./stripe.ts";

export * from "./port.ts";

/** All adapters, by their name in `banks.adapter`. */
const adapters: Readonly<Record<string, BankAdapter>> = {
  sandbox: sandboxBank,
  stripe: stripeBank,
};

/**
 * Opens a bank. It sends nothing yet.
 * @throws Error naming the setting that is missing, unknown or of the wrong form, never its value
 */
export function openBank(
  adapterName: string,
  settings: Readonly<Record<string, string>>,
  webcheckoutUrl: string,
  environment: BankEnvironment = {},
): Bank {
  const adapter = Object.hasOwn(adapters, adapterName) ? adapters[adapterName] : undefined;
  if (!adapter) throw new Error("there is no such adapter");
  for (const name of adapter.settings) if (!settings[name]) throw new Error(`${name} is missing`);
  const known = [...adapter.settings, ...adapter.optional];
  for (const name of Object.keys(settings)) if (!known.includes(name)) throw new Error(`${name} is unknown`);
  return adapter.open(settings, webcheckoutUrl, environment);
}
