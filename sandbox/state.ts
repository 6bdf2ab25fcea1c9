import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

/** The objects that the sandbox has created on the platform, for its next start. */
export interface SandboxState {
  bank: { apiKey: string; webhookSecret: string; id?: string };
  /** By key in the catalogue. */
  partners: Record<string, { id: string; products: string[]; secret?: string }>;
  agentId?: string;
  deliverer: { email: string; password: string; accepted?: boolean };
  customerConfirmed?: boolean;
}

const PASSWORD_BYTES = 18;
const SECRET_BYTES = 32;

/** Reads the state file or creates it. `save` writes it, readable only by its owner because it contains secrets. */
export function openState(file: string): { state: SandboxState; save(): void } {
  const state = read(file) ?? {
    bank: {
      apiKey: `sk_sandbox_${randomBytes(PASSWORD_BYTES).toString("hex")}`,
      webhookSecret: `whsec_${randomBytes(SECRET_BYTES).toString("base64")}`,
    },
    partners: {},
    deliverer: {
      email: "dora@sandbox.example",
      password: randomBytes(PASSWORD_BYTES).toString("base64url"),
    },
  };
  const save = () => {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    writeFileSync(`${file}.new`, `${JSON.stringify(state, undefined, 2)}\n`, { mode: 0o600 });
    renameSync(`${file}.new`, file);
  };
  save();
  return { state, save };
}

function read(file: string): SandboxState | undefined {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as SandboxState;
  } catch {
    return undefined;
  }
}
