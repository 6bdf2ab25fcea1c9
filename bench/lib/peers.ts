import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { cpuMicros } from "./process.ts";

/** Programs outside of the platform, each a process of its own, so that their CPU time is not counted as ours. */
export interface Peers {
  bankUrl: string;
  partnersUrl: string;
  /** `smtp://…` for the platform. */
  smtpUrl: string;
  /** The last code that was mailed to this address, or undefined. */
  codeFor(email: string): Promise<string | undefined>;
  mails(): Promise<number>;
  /** CPU time that each has used so far, in microseconds. */
  cpuMicros(): Record<"bank" | "partners" | "mail", number>;
  stop(): void;
}

export async function startPeers(): Promise<Peers> {
  const [bank, partners, mail] = await Promise.all([
    startPeer("bank.ts"),
    startPeer("partner-system.ts"),
    startPeer("mail-sink.ts"),
  ]);
  const asked = async (path: string) => (await fetch(mail.url + path)).text();
  return {
    bankUrl: bank.url,
    partnersUrl: partners.url,
    smtpUrl: `smtp://127.0.0.1:${await asked("/port")}`,
    codeFor: async (email) => (await asked(`/?to=${encodeURIComponent(email)}`)) || undefined,
    mails: async () => Number(await asked("/count")),
    cpuMicros: () => ({
      bank: cpuMicros(bank.child.pid as number),
      partners: cpuMicros(partners.child.pid as number),
      mail: cpuMicros(mail.child.pid as number),
    }),
    stop() {
      for (const { child } of [bank, partners, mail]) child.kill();
    },
  };
}

async function startPeer(file: string): Promise<{ child: ChildProcess; url: string }> {
  const child = spawn(process.execPath, [join(import.meta.dirname, "../peers", file)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream });
  const [url] = (await once(lines, "line")) as [string];
  return { child, url };
}
