import type { Attempt } from "../../../contracts/notifications.ts";
import type { BreakerLimits, CircuitBreakers } from "../../../lib/circuit-breaker.ts";
import { type Clock, isoTime } from "../../../lib/clock.ts";
import { derivedId } from "../../../lib/ids.ts";
import { type KeyedLimit, KeyedLimitError, type KeyedLimits } from "../../../lib/keyed-limit.ts";
import { shorten } from "../../../lib/text.ts";
import type { Mail, Mailer } from "../../../providers/email/index.ts";
import type { PushProvider, PushResult } from "../../../providers/push/index.ts";
import type { Device, Sender } from "../dependencies.ts";

const PUSH_TIMEOUT_MS = 2_000;
/** Two tries of 2 s leave enough time for the mail within five seconds. */
const PUSH_DEADLINE_MS = 4_100;
const DEADLINE_MS = 5_000;
const MIN_PUSH_MS = 50;
const MIN_MAIL_MS = 800;
const DETAIL_MAX = 500;

/** Per provider or, for Web Push, per push service of the browser. */
export const PUSH_BREAKER: BreakerLimits = {
  failuresToOpen: 5,
  openMs: 15_000,
  askedMaxMs: 600_000,
};

/**
 * How many concurrent pushes one provider may have in a process: less than half of the notifications that the process
 * handles at once. A push that cannot start in time is skipped and the next channel is tried, so that a slow provider
 * does not block the others.
 */
export const PUSH_CONCURRENCY: KeyedLimits = { atOnce: 12, waitMs: 500 };

export interface DeliveryRequest {
  notificationId: string;
  title: string;
  body: string;
  data: Readonly<Record<string, string>>;
  devices: readonly Device[];
  /** Absent when no agent is enabled. */
  sender?: Sender | undefined;
  /** Renders the mail, when it is sent. Undefined when no address is known. */
  mail: () => Mail | undefined;
  /** `mailOnly` for answers to the user's own action, such as a code: preferences do not apply. */
  preferences: { push: boolean; email: boolean } | "mailOnly";
  /** The mail is sent also when a device has accepted the push. */
  bothChannels?: true | undefined;
}

export interface DeliveryDeps {
  push: ReadonlyMap<string, PushProvider>;
  mailer: Mailer;
  breakers: CircuitBreakers;
  /** Limits the concurrent pushes of each provider. */
  pushLimit: KeyedLimit;
  /** Number of push attempts by "provider outcome". */
  attemptCounts: Map<string, number>;
  clock: Clock;
}

export interface DeliveryResult {
  /** `muted`: the recipient wants neither pushes nor mails. */
  state: "sent" | "muted" | "failed";
  /** With `failed`: whether a later pass may succeed. */
  retryable: boolean;
  /** No device accepted the push, so the mail is what the recipient got. */
  byMailOnly?: true;
  attempts: Attempt[];
  /** Tokens whose push failed. */
  tokenFailures: TokenFailure[];
}

export interface TokenFailure {
  provider: string;
  token: string;
  detail: string;
  /** The provider no longer knows it. */
  unregistered: boolean;
}

/**
 * Sends one notification to one person: a push to each device, and a mail if no device accepted it or both are wanted.
 * Ends within five seconds. A repetition uses the same ids, so providers and mailboxes that honour them show the
 * notification once.
 */
export async function deliver(request: DeliveryRequest, deps: DeliveryDeps): Promise<DeliveryResult> {
  const startMs = deps.clock.now();
  const run: Run = { request, deps, startMs, attempts: [], tokenFailures: [] };
  const result = (state: DeliveryResult["state"], retryable = false): DeliveryResult => ({
    state,
    retryable,
    attempts: run.attempts,
    tokenFailures: run.tokenFailures,
  });
  const { preferences, bothChannels } = request;
  let pushed = false;
  if (preferences !== "mailOnly") {
    if (!preferences.push && !preferences.email) {
      skip(run, "push", "none", "pushes are turned off");
      skip(run, "email", deps.mailer.name, "mails are turned off");
      return result("muted");
    }
    pushed = await pushToDevices(run, preferences.push);
    if (pushed && !(bothChannels && preferences.email)) return result("sent");
    if (!preferences.email) {
      skip(run, "email", deps.mailer.name, "mails are turned off");
      return result("failed");
    }
  }
  const mailed = await mail(run);
  // After an accepted push the mail is not repeated: the recipient knows, and a repetition would push again.
  if (pushed) return result("sent");
  return mailed.outcome === "accepted"
    ? { ...result("sent"), byMailOnly: true }
    : result("failed", mailed.retryable);
}

interface Run {
  request: DeliveryRequest;
  deps: DeliveryDeps;
  startMs: number;
  attempts: Attempt[];
  tokenFailures: TokenFailure[];
}

/** @returns whether at least one device accepted it */
async function pushToDevices(run: Run, wanted: boolean): Promise<boolean> {
  const { devices, sender } = run.request;
  const reason = !wanted
    ? "pushes are turned off"
    : devices.length === 0
      ? "no device is registered"
      : !sender
        ? "no agent is enabled"
        : undefined;
  if (reason || !sender) {
    skip(run, "push", "none", reason ?? "");
    return false;
  }
  const accepted = await Promise.all(devices.map((device) => pushToDevice(run, device, sender)));
  return accepted.includes(true);
}

/**
 * Pushes to one device through the first healthy provider that the device has a token of. After a refusal the next
 * provider is tried. After an unclear outcome the same push is repeated once and no other provider is tried, because
 * the device may have shown it.
 */
async function pushToDevice(run: Run, device: Device, sender: Sender): Promise<boolean> {
  let tried = false;
  for (const { name, settings } of sender.providers) {
    const token = device.tokens.find(({ provider }) => provider === name)?.token;
    const provider = run.deps.push.get(name);
    if (!token || !provider) continue;
    tried = true;
    if (!run.deps.breakers.admits(breakerKeyOf(provider, token))) {
      skip(run, "push", name, "left out for a while after failures");
      continue;
    }
    const attempt = { device, provider, settings, token };
    const first = await tryPush(run, attempt);
    if (first.outcome === "accepted") return true;
    if (first.outcome !== "unclear") continue;
    if (first.retryAfterMs) {
      skip(run, "push", name, "asked to be left alone for a while");
      return false;
    }
    const { outcome: second } = await tryPush(run, attempt);
    if (second !== "unregistered") return second === "accepted";
  }
  if (!tried) skip(run, "push", "none", "the device has no token of the agent's providers");
  return false;
}

/** The key of the circuit breaker: the provider or, for Web Push, the push service of the token. */
function breakerKeyOf(provider: PushProvider, token: string): string {
  const server = provider.serverOf?.(token);
  return server ? `${provider.name} ${server}` : provider.name;
}

interface PushAttempt {
  device: Device;
  provider: PushProvider;
  settings: Readonly<Record<string, string>>;
  token: string;
}

type PushOutcome = Pick<PushResult, "outcome" | "retryAfterMs">;

async function tryPush(run: Run, { device, provider, settings, token }: PushAttempt): Promise<PushOutcome> {
  const { request, deps } = run;
  const atMs = deps.clock.now();
  const timeoutMs = Math.min(PUSH_TIMEOUT_MS, run.startMs + PUSH_DEADLINE_MS - atMs);
  if (timeoutMs < MIN_PUSH_MS) {
    skip(run, "push", provider.name, "out of time");
    return { outcome: "refused" };
  }
  const send = () =>
    provider.send({
      token,
      title: request.title,
      body: request.body,
      data: request.data,
      collapseId: derivedId("push", `${request.notificationId}/${device.id}`),
      settings,
      timeoutMs,
    });
  let tried: PushResult;
  try {
    tried = await deps.pushLimit.run(provider.concurrencyGroupOf?.(token) ?? provider.name, send);
  } catch (error) {
    if (!(error instanceof KeyedLimitError)) throw error;
    skip(run, "push", provider.name, "too many pushes are under way there");
    return { outcome: "refused" };
  }
  const { outcome, detail } = tried;
  const unregistered = outcome === "unregistered";
  const result = `${provider.name} ${outcome}`;
  deps.attemptCounts.set(result, (deps.attemptCounts.get(result) ?? 0) + 1);
  if (outcome !== "accepted")
    run.tokenFailures.push({ provider: provider.name, token, detail, unregistered });
  const line = breakerKeyOf(provider, token);
  // A refusal of this token proves that the service works, so it does not open the breaker for other tokens.
  if (outcome === "accepted" || unregistered || tried.concerns === "token") deps.breakers.worked(line);
  else deps.breakers.failed(line, tried.retryAfterMs);
  record(run, {
    channel: "push",
    provider: provider.name,
    outcome: unregistered ? "refused" : outcome,
    detail: unregistered ? `${detail}; the token was removed` : detail,
    atMs,
  });
  return tried;
}

async function mail(run: Run): Promise<{ outcome: string; retryable: boolean }> {
  const { deps, request } = run;
  const content = request.mail();
  if (!content) {
    skip(run, "email", deps.mailer.name, "no address is known yet");
    return { outcome: "skipped", retryable: true };
  }
  const atMs = deps.clock.now();
  const result = await deps.mailer.send(content, Math.max(MIN_MAIL_MS, run.startMs + DEADLINE_MS - atMs));
  record(run, {
    channel: "email",
    provider: deps.mailer.name,
    outcome: result.outcome,
    detail: result.detail,
    atMs,
  });
  return result;
}

function record(run: Run, { atMs, ...attempt }: Omit<Attempt, "at" | "durationMs"> & { atMs: number }): void {
  const durationMs = Math.max(0, Math.round(run.deps.clock.now() - atMs));
  const detail = attempt.detail && shorten(attempt.detail, DETAIL_MAX);
  run.attempts.push({ ...attempt, ...(detail && { detail }), at: isoTime(atMs), durationMs });
}

function skip(run: Run, channel: Attempt["channel"], provider: string, detail: string): void {
  record(run, { channel, provider, outcome: "skipped", detail, atMs: run.deps.clock.now() });
}
