import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

/** What the sandbox made in the platform and has to know at its next start. */
export interface SandboxMemory {
  bank: { apiKey: string; webhookSecret: string; id?: string };
  /** By their key in the catalogue. */
  partners: Record<string, { id: string; products: string[]; secret?: string }>;
  agentId?: string;
  deliverer: { email: string; password: string; accepted?: boolean };
  customerConfirmed?: boolean;
}

const PASSWORD_BYTES = 18;
const SECRET_BYTES = 32;

/** Reads the memory, or begins a new one; `save` writes it, readable by its owner only: it holds secrets. */
export function openMemory(file: string): { memory: SandboxMemory; save(): void } {
  const memory = read(file) ?? {
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
    writeFileSync(`${file}.new`, `${JSON.stringify(memory, undefined, 2)}\n`, { mode: 0o600 });
    renameSync(`${file}.new`, file);
  };
  save();
  return { memory, save };
}

function read(file: string): SandboxMemory | undefined {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as SandboxMemory;
  } catch {
    return undefined;
  }
}
