import { settingsCatalogue } from "./catalogue.ts";
import { missingSettings } from "./required-settings.ts";
import type { Setting } from "./setting.ts";

type Catalogue = typeof settingsCatalogue;
type ValueOf<S> = S extends { parse: (text: string) => infer T }
  ? S extends { fallback: T }
    ? T
    : T | undefined
  : never;

/** The settings, parsed once at the start of the process. A variable without a value and fallback is undefined. */
export type ParsedSettings = { readonly [K in keyof Catalogue]: ValueOf<Catalogue[K]> };

/** Names the invalid variables with the reasons, one per line, without their values. The process ends with exit code 78. */
export class SettingsError extends Error {
  readonly lines: string[];

  constructor(lines: string[]) {
    super(lines.join("\n"));
    this.lines = lines;
  }
}

/**
 * @param env usually process.env; an empty value counts as unset
 * @param options.checkRequired whether the settings that services require must be set. false for commands that run no
 *   service
 * @throws SettingsError with all invalid variables
 */
export function readSettings(
  env: Record<string, string | undefined>,
  { checkRequired = true }: { checkRequired?: boolean } = {},
): ParsedSettings {
  const lines: string[] = [];
  const values: Record<string, unknown> = {};
  for (const [name, setting] of Object.entries<Setting<unknown>>(settingsCatalogue)) {
    const text = env[name];
    try {
      values[name] = text ? setting.parse(text) : setting.fallback;
    } catch (error) {
      lines.push(`${name} ${(error as Error).message}`);
    }
  }
  const production = env.NODE_ENV === "production";
  if (production && !env.SANDBOX) values.SANDBOX = false;
  if (production && values.SANDBOX) lines.push("SANDBOX must not be true in production");
  if (checkRequired)
    lines.push(...missingSettings(env, values.SERVICES as ParsedSettings["SERVICES"] | undefined));
  if (!values.ADMIN_EMAIL !== !values.ADMIN_PASSWORD && lines.length === 0) {
    const missing = values.ADMIN_EMAIL ? "ADMIN_PASSWORD" : "ADMIN_EMAIL";
    lines.push(`${missing} must be set too: the first admin needs both`);
  }
  if (lines.length > 0) throw new SettingsError(lines);
  return values as unknown as ParsedSettings;
}

type Supplied =
  | "PUBLIC_URL"
  | "SMTP_URL"
  | "BRIDGE_SECRET"
  | "HANDOVER_SECRET"
  | "SEAL_SECRET"
  | `POSTGRES_URL_${"ORDERS" | "PARTNERS" | "NOTIFICATIONS" | "IDENTITY"}`;

/** The settings of services. The launcher has supplied the values that the environment does not set. */
export type Settings = ParsedSettings & { readonly [K in Supplied]: string };
