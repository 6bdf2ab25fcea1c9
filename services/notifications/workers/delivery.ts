import type { Attempt } from "../../../contracts/notifications.ts";
import type { BreakerLimits, CircuitBreakers } from "../../../lib/circuit-breaker.ts";
import { type Clock, isoTime } from "../../../lib/clock.ts";
import { derivedId } from "../../../lib/ids.ts";
import { type KeyedLimit, KeyedLimitError, type KeyedLimits } from "../../../lib/keyed-limit.ts";
import { shorten } from "../../../lib/text.ts";
import type { Mail, Mailer } from "../../../providers/email/index.ts";
import type { PushProvider, PushResult } from "../../../providers/push/index.ts";
import type { Device, Sender } from "../dependencies.ts";

const TRY_TIMEOUT_MS = 2_000;
/** With two tries of 2 s there is still time for the mail within five seconds. */
const PUSH_BUDGET_MS = 4_100;
const BUDGET_MS = 5_000;
const MIN_TRY_MS = 50;
const MIN_MAIL_MS = 800;
const DETAIL_MAX = 500;

/** For each provider, or each push service that a browser has chosen. */
export const PUSH_BREAKER: BreakerLimits = {
  failuresToOpen: 5,
  openMs: 15_000,
  askedMaxMs: 600_000,
};

/**
 * How many pushes one provider may have under way in a process: less than half of the notifications that are worked on
 * at once. A push that gets no place in time is told by another way, so that it does not hold the place of others.
 */
export const PUSH_PLACES: KeyedLimits = { atOnce: 12, waitMs: 500 };

export interface Parcel {
  notificationId: string;
  title: string;
  body: string;
  data: Readonly<Record<string, string>>;
  devices: readonly Device[];
  /** Absent: nobody is set up to send pushes. */
  sender?: Sender | undefined;
  /** Absent: no address is known. */
  mail?: Mail | undefined;
  /** `mailOnly` for what is no news but an answer to somebody's own act, as a code. */
  preferences: { push: boolean; email: boolean } | "mailOnly";
}

export interface DeliveryDeps {
  push: ReadonlyMap<string, PushProvider>;
  mailer: Mailer;
  breakers: CircuitBreakers;
  /** Of the pushes that are under way at once, the part of each provider. */
  places: KeyedLimit;
  /** Counts the tries to push, by "provider outcome". */
  tries: Map<string, number>;
  clock: Clock;
}

export interface Delivered {
  /** `muted`: the recipient wants neither pushes nor mails. */
  state: "sent" | "muted" | "failed";
  /** With `failed`: whether a later pass may succeed. */
  retryable: boolean;
  attempts: Attempt[];
  /** Tokens that did not work. */
  troubles: TokenTrouble[];
}

export interface TokenTrouble {
  provider: string;
  token: string;
  detail: string;
  /** The provider no longer knows it. */
  unregistered: boolean;
}

/**
 * Brings one notification to one person: a push to each of their devices, and a mail where no device took it.
 * Ends within five seconds. Repeating it with the same notification shows nothing twice, as far as providers and
 * mailboxes heed the ids that stay the same.
 */
export async function deliver(parcel: Parcel, deps: DeliveryDeps): Promise<Delivered> {
  const startMs = deps.clock.now();
  const run: Run = { parcel, deps, startMs, attempts: [], troubles: [] };
  const result = (state: Delivered["state"], retryable = false): Delivered => ({
    state,
    retryable,
    attempts: run.attempts,
    troubles: run.troubles,
  });
  const { preferences } = parcel;
  if (preferences !== "mailOnly") {
    if (!preferences.push && !preferences.email) {
      skip(run, "push", "none", "pushes are turned off");
      skip(run, "email", deps.mailer.name, "mails are turned off");
      return result("muted");
    }
    if (await pushed(run, preferences.push)) return result("sent");
    if (!preferences.email) {
      skip(run, "email", deps.mailer.name, "mails are turned off");
      return result("failed");
    }
  }
  const mailed = await mail(run);
  return mailed.outcome === "accepted" ? result("sent") : result("failed", mailed.retryable);
}

interface Run {
  parcel: Parcel;
  deps: DeliveryDeps;
  startMs: number;
  attempts: Attempt[];
  troubles: TokenTrouble[];
}

/** Whether at least one device took it. */
async function pushed(run: Run, wanted: boolean): Promise<boolean> {
  const { devices, sender } = run.parcel;
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
  const taken = await Promise.all(devices.map((device) => pushTo(run, device, sender)));
  return taken.includes(true);
}

/**
 * One device: the first healthy provider that it has a token of, after a definite no the next one. After an
 * unclear end only the same push again, and then none of the others: it may have been shown.
 */
async function pushTo(run: Run, device: Device, sender: Sender): Promise<boolean> {
  let tried = false;
  for (const { name, settings } of sender.providers) {
    const token = device.tokens.find(({ provider }) => provider === name)?.token;
    const provider = run.deps.push.get(name);
    if (!token || !provider) continue;
    tried = true;
    if (!run.deps.breakers.admits(lineOf(provider, token))) {
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

/** What is left out together after failures. */
function lineOf(provider: PushProvider, token: string): string {
  const line = provider.lineOf?.(token);
  return line ? `${provider.name} ${line}` : provider.name;
}

interface Try {
  device: Device;
  provider: PushProvider;
  settings: Readonly<Record<string, string>>;
  token: string;
}

type Tried = Pick<PushResult, "outcome" | "retryAfterMs">;

async function tryPush(run: Run, { device, provider, settings, token }: Try): Promise<Tried> {
  const { parcel, deps } = run;
  const atMs = deps.clock.now();
  const timeoutMs = Math.min(TRY_TIMEOUT_MS, run.startMs + PUSH_BUDGET_MS - atMs);
  if (timeoutMs < MIN_TRY_MS) {
    skip(run, "push", provider.name, "out of time");
    return { outcome: "refused" };
  }
  const send = () =>
    provider.send({
      token,
      title: parcel.title,
      body: parcel.body,
      data: parcel.data,
      collapseId: derivedId("push", `${parcel.notificationId}/${device.id}`),
      settings,
      timeoutMs,
    });
  let tried: PushResult;
  try {
    tried = await deps.places.run(provider.shareOf?.(token) ?? provider.name, send);
  } catch (error) {
    if (!(error instanceof KeyedLimitError)) throw error;
    skip(run, "push", provider.name, "too many pushes are under way there");
    return { outcome: "refused" };
  }
  const { outcome, detail } = tried;
  const unregistered = outcome === "unregistered";
  const result = `${provider.name} ${outcome}`;
  deps.tries.set(result, (deps.tries.get(result) ?? 0) + 1);
  if (outcome !== "accepted") run.troubles.push({ provider: provider.name, token, detail, unregistered });
  const line = lineOf(provider, token);
  // A refusal of this token is an answer: the service works, and others' pushes go on.
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
  const { deps, parcel } = run;
  if (!parcel.mail) {
    skip(run, "email", deps.mailer.name, "no address is known yet");
    return { outcome: "skipped", retryable: true };
  }
  const atMs = deps.clock.now();
  const result = await deps.mailer.send(parcel.mail, Math.max(MIN_MAIL_MS, run.startMs + BUDGET_MS - atMs));
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
