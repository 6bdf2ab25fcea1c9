import { settingsCatalogue } from "./catalogue.ts";
import { unmetNeeds } from "./needs.ts";
import type { Setting } from "./setting.ts";

type Catalogue = typeof settingsCatalogue;
type ValueOf<S> = S extends { parse: (text: string) => infer T }
  ? S extends { fallback: T }
    ? T
    : T | undefined
  : never;

/** The settings, parsed once at the start of the process; undefined where a variable is unset without a fallback. */
export type ParsedSettings = { readonly [K in keyof Catalogue]: ValueOf<Catalogue[K]> };

/** Says which variables are wrong and why, a line each; holds no value. The process ends with exit code 78. */
export class SettingsError extends Error {
  readonly lines: string[];

  constructor(lines: string[]) {
    super(lines.join("\n"));
    this.lines = lines;
  }
}

/**
 * @param env usually process.env; an empty value counts as unset
 * @param options.needs whether what the process needs to run services must be there; a command that asks a running
 *   platform needs none of it
 * @throws ConfigError naming every wrong variable at once
 */
export function readSettings(
  env: Record<string, string | undefined>,
  { needs = true }: { needs?: boolean } = {},
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
  if (needs) lines.push(...unmetNeeds(env, values.SERVICES as ParsedSettings["SERVICES"] | undefined));
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

/** The settings that services are built from: what the environment left open, the launcher has supplied. */
export type Settings = ParsedSettings & { readonly [K in Supplied]: string };
