import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import { IF_MATCH } from "../../services/api/pipeline/request.ts";

const MAX_SAMPLE_LENGTH = 600;
/**
 * Rules that a schema can express, so the document is wrong if it allows the value. Other rules belong to the service.
 */
const SCHEMA_RULE =
  /^(required|unknown|object|record|array|string|number|boolean|uuid|enum)|^(string|number|array|enum)[A-Z]/;

/** A schema says nothing of a picture's bytes. */
const TAKES_BYTES = /\/(?:avatar|proof)$/;

export interface Finding {
  operation: string;
  what: string;
  times: number;
  /** One request that shows it. */
  sample: string;
}

/** Requests and answers of several runs of several tools. */
export interface Tally {
  requests: number;
  /** How often each status was answered. */
  statuses: Map<number, number>;
  /** Operations that have answered 2xx. */
  reached: Set<string>;
  findings: Map<string, Finding>;
}

export function newTally(): Tally {
  return { requests: 0, statuses: new Map(), reached: new Set(), findings: new Map() };
}

/** @param method of the request: a tool also sends others to the operation's path, which reach something else */
export function count(
  tally: Tally,
  operation: string,
  status: number,
  method = operation.split(" ")[0],
): void {
  tally.requests += 1;
  tally.statuses.set(status, (tally.statuses.get(status) ?? 0) + 1);
  if (status >= 200 && status < 300 && operation.startsWith(`${method} `)) tally.reached.add(operation);
}

export function find(tally: Tally, operation: string, what: string, sample: string): void {
  const key = `${operation} ${what}`;
  const known = tally.findings.get(key);
  if (known) known.times += 1;
  else tally.findings.set(key, { operation, what, times: 1, sample: sample.slice(0, MAX_SAMPLE_LENGTH) });
}

interface Case {
  value: { meta?: { generation?: { mode?: string } } };
}
interface Interaction {
  request: { method: string; uri: string; headers?: Record<string, string[]>; body?: { $base64: string } };
  response?: { status_code: number; content?: { $base64: string } | null } | null;
}
interface Check {
  name: string;
  status: string;
  failure_info?: { failure: { title: string; message: string } };
}
interface Recorder {
  label: string;
  cases?: Record<string, Case> | null;
  checks?: Record<string, Check[]> | null;
  interactions?: Record<string, Interaction | null> | null;
}
interface Event {
  ScenarioFinished?: { recorder?: Recorder };
  NonFatalError?: { label?: string; value?: unknown };
  FatalError?: { exception?: unknown };
}

/** Adds a report of Schemathesis (NDJSON). */
export async function addReport(tally: Tally, file: string): Promise<void> {
  for await (const line of createInterface({ input: createReadStream(file) })) {
    const { ScenarioFinished, NonFatalError, FatalError } = JSON.parse(line) as Event;
    if (ScenarioFinished?.recorder) addScenario(tally, ScenarioFinished.recorder);
    if (NonFatalError)
      find(tally, NonFatalError.label ?? "?", "the tool met an error", JSON.stringify(NonFatalError));
    if (FatalError) find(tally, "?", "the tool ended", JSON.stringify(FatalError));
  }
}

function addScenario(tally: Tally, { label, cases, checks, interactions }: Recorder): void {
  for (const [id, interaction] of Object.entries(interactions ?? {})) {
    if (!interaction) continue;
    const { request, response } = interaction;
    // The stateful phase calls each sequence one scenario; the operation is then the request's own.
    const operation = / \//.test(label) ? label : `${request.method} (in a sequence)`;
    const sample = `${request.method} ${request.uri} ${text(request.body)} -> ${response?.status_code} ${text(response?.content)}`;
    if (!response) {
      tally.requests += 1;
      find(tally, operation, "no answer", sample);
      continue;
    }
    count(tally, operation, response.status_code, request.method);
    if (response.status_code >= 500) find(tally, operation, `answered ${response.status_code}`, sample);
    const isPositive = cases?.[id]?.value.meta?.generation?.mode === "positive";
    if (isPositive && response.status_code === 415 && !TAKES_BYTES.test(request.uri))
      find(tally, operation, "refuses the media type that the document names", sample);
    if (isPositive && response.status_code === 422) {
      for (const what of refusedBySchema(text(response.content)))
        find(tally, operation, `refuses what the document allows: ${what}`, sample);
    }
    for (const { name, status, failure_info } of checks?.[id] ?? []) {
      if (status !== "failure" || !failure_info) continue;
      if (name === "positive_data_acceptance" && breaksIfMatch(request.headers)) continue;
      const { title, message } = failure_info.failure;
      find(tally, operation, `${name}: ${title}: ${message.split("\n").slice(0, 4).join(" | ")}`, sample);
    }
  }
}

/** The tool takes a header `If-Match: 0` for valid, whatever its pattern says. */
function breaksIfMatch(headers: Record<string, string[]> = {}): boolean {
  return (headers["If-Match"] ?? []).some((value) => !IF_MATCH.test(value));
}

function refusedBySchema(body: string): string[] {
  if (body === "") return [];
  const { code, errors = [] } = JSON.parse(body) as {
    code: string;
    errors?: { field: string; rule: string }[];
  };
  if (code !== "validation_error") return [];
  return errors
    .filter(({ rule }) => SCHEMA_RULE.test(rule))
    .map(({ field, rule }) => `${field.replace(/\[\d+\]/g, "[]")} ${rule}`);
}

function text(content: { $base64: string } | null | undefined): string {
  return content ? Buffer.from(content.$base64, "base64").toString("utf8") : "";
}
