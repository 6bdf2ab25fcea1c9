import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { addReport, find, type Tally } from "./tally.ts";

/** Far more than an answer takes, so that a slow machine is no finding and a hanging request is one. */
const REQUEST_TIMEOUT_SECONDS = 20;

/**
 * Besides what Schemathesis expects by itself: a state refusal may be 422 (a wrong code, a key that was used with
 * another body; the rule in the answer distinguishes a refusal by the schema, in tally.ts),
 * a version 412, bytes that are no picture 415. A path that can name nothing is not there: 404.
 */
const CHECKS = `
[checks]
positive_data_acceptance.expected-statuses = ["2xx", "3xx", "401", "403", "404", "409", "412", "415", "422", "429"]
negative_data_rejection.expected-statuses = ["400", "401", "403", "404", "405", "406", "409", "415", "422", "428", "429"]
missing_required_header.expected-statuses = ["400", "401", "403", "404", "405", "406", "409", "415", "422", "428", "429"]
`;

export interface Attack {
  url: string;
  /** The sender, which is also the name of the run. */
  name: string;
  token?: string | undefined;
  seed: number;
  phases: readonly string[];
  maxExamples: number;
  /** Values that placeholders always have; without, they are made up like everything else. */
  ids?: Readonly<Record<string, string>>;
  only?: readonly string[];
  except?: readonly string[];
}

/** One run of Schemathesis with all its checks. Its output stays in the folder, its report goes to the tally. */
export async function attack(command: string, folder: string, tally: Tally, one: Attack): Promise<void> {
  const home = join(folder, one.name);
  mkdirSync(home, { recursive: true });
  const config = join(home, "schemathesis.toml");
  const report = join(home, "report.ndjson");
  writeFileSync(config, `${parametersOf(one.ids)}${CHECKS}`);
  const child = spawn(
    command,
    [
      ...["--config-file", config, "run", `${one.url}/openapi.json`],
      ...["--phases", one.phases.join(","), "--checks", "all", "--mode", "all"],
      ...["--seed", String(one.seed), "--max-examples", String(one.maxExamples), "--workers", "1"],
      ...["--request-timeout", String(REQUEST_TIMEOUT_SECONDS), "--suppress-health-check", "all"],
      ...["--continue-on-failure", "--generation-database", "none", "--no-color", "--warnings", "off"],
      ...["--report", "ndjson", "--report-ndjson-path", report],
      ...(one.token ? ["--header", `Authorization: Bearer ${one.token}`] : []),
      ...(one.only ?? []).flatMap((id) => ["--include-operation-id", id]),
      ...(one.except ?? []).flatMap((id) => ["--exclude-operation-id", id]),
    ],
    { cwd: home, stdio: ["ignore", "pipe", "pipe"] },
  );
  const printed: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => printed.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => printed.push(chunk));
  const [code] = (await once(child, "close")) as [number | null];
  const output = Buffer.concat(printed).toString("utf8");
  writeFileSync(join(home, "output.txt"), output);
  // 1 means that it found something, which is in its report; any other code, that it did not run.
  if (code !== 0 && code !== 1) find(tally, one.name, `Schemathesis ended with ${code}`, output.slice(-600));
  else await addReport(tally, report);
  rmSync(report, { force: true });
}

function parametersOf(ids: Readonly<Record<string, string>> = {}): string {
  const lines = Object.entries(ids).map(([name, value]) => `"path.${name}" = ${JSON.stringify(value)}`);
  return lines.length > 0 ? `[parameters]\n${lines.join("\n")}\n` : "";
}
