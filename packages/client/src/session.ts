import { unlessAborted } from "./abort.ts";
import type { components } from "./api.ts";
import { ApiError } from "./error.ts";

/** The two tokens of a session, and when the first of them ends. */
export interface SessionTokens {
  accessToken: string;
  refreshToken: string;
  /** In milliseconds of Unix time. */
  endsAtMs: number;
}

/** A token is exchanged this long before it ends. */
const RENEW_BEFORE_MS = 60_000;
/** Chains of exchanges that are remembered: those of clients that were long asleep. */
const SUCCESSORS_MAX = 200;
const CHANNEL = "waybill-sessions";

/** The tokens that others were exchanged for, by the refresh token that was used up, in this page and its other tabs. */
const successors = new Map<string, SessionTokens>();
let channel: InstanceType<typeof BroadcastChannel> | undefined;

interface Exchanged {
  exchanged: string;
  tokens: SessionTokens;
}

function remember({ exchanged, tokens }: Exchanged): void {
  successors.set(exchanged, tokens);
  for (const oldest of successors.keys()) {
    if (successors.size <= SUCCESSORS_MAX) break;
    successors.delete(oldest);
  }
}

/** Hears what the other tabs of this origin exchange, where the runtime has a channel for that. */
function listen(): void {
  if (channel || typeof BroadcastChannel === "undefined") return;
  channel = new BroadcastChannel(CHANNEL);
  channel.onmessage = (event) => remember((event as { data: Exchanged }).data);
  // Node would not end before its channels are closed.
  (channel as { unref?(): void }).unref?.();
}

function newest(tokens: SessionTokens): SessionTokens {
  let found = tokens;
  for (let next = successors.get(found.refreshToken); next; next = successors.get(found.refreshToken)) {
    found = next;
  }
  return found;
}

const isFresh = ({ endsAtMs }: SessionTokens) => Date.now() <= endsAtMs - RENEW_BEFORE_MS;

/** The exchange that others of this page wait for, by the name of the lock. */
const queues = new Map<string, Promise<unknown>>();

/** One exchange at a time, in all tabs of this origin where there are locks, else in this page. */
async function exclusively<T>(name: string, work: () => Promise<T>): Promise<T> {
  const locks = globalThis.navigator?.locks;
  if (locks) return (await locks.request(name, work)) as T;
  const turn = (queues.get(name) ?? Promise.resolve()).then(work, work);
  queues.set(name, turn);
  return await turn;
}

export interface SessionDeps {
  /** Names the platform: clients of one platform exchange one after the other. */
  url: string;
  exchange: (refreshToken: string) => Promise<SessionTokens>;
  /** Reads the tokens that the listener of `onTokens` saved, as they are now. */
  kept?: () => SessionTokens | undefined | Promise<SessionTokens | undefined>;
}

export interface Session {
  /** The access token that is good now, exchanged where it ends soon; undefined for nobody. @throws ApiError */
  accessToken(signal: AbortSignal): Promise<string | undefined>;
  set(tokens: SessionTokens | undefined): void;
  listeners: ((tokens: SessionTokens) => void)[];
}

/**
 * Tokens that several clients may share: an exchanged refresh token that comes again ends the whole session. Before an
 * exchange a client takes over what another one has exchanged meanwhile: told by this page, by another tab, or kept.
 */
export function sessionIn({ url, exchange, kept }: SessionDeps): Session {
  const listeners: ((tokens: SessionTokens) => void)[] = [];
  let tokens: SessionTokens | undefined;
  let renewing: Promise<void> | undefined;

  const take = (next: SessionTokens) => {
    if (next.refreshToken === tokens?.refreshToken) return;
    tokens = next;
    for (const listener of listeners) listener(next);
  };
  const known = async (of: SessionTokens) => newest((await kept?.()) ?? newest(of));
  const renew = async (old: SessionTokens) => {
    const current = await known(old);
    if (isFresh(current)) return take(current);
    try {
      const next = await exchange(current.refreshToken);
      const exchanged: Exchanged = { exchanged: current.refreshToken, tokens: next };
      remember(exchanged);
      channel?.postMessage(exchanged);
      take(next);
    } catch (error) {
      // Another tab may have been faster, and what it was told arrives only now.
      const later = await known(current);
      const wasUsedUp = error instanceof ApiError && error.status === 401;
      if (!wasUsedUp || later.refreshToken === current.refreshToken) throw error;
      take(later);
    }
  };

  return {
    listeners,
    async accessToken(signal) {
      if (!tokens) return undefined;
      take(newest(tokens));
      if (!isFresh(tokens)) {
        const old = tokens;
        // Several requests wait for the one exchange, each as long as its caller does.
        renewing ??= exclusively(`waybill ${url}`, () => renew(old)).finally(() => {
          renewing = undefined;
        });
        await unlessAborted(renewing, signal);
      }
      return tokens?.accessToken;
    },
    set(next) {
      tokens = next;
      if (next) listen();
    },
  };
}

/** The tokens of a sign-in that was answered just now. */
export function sessionOf({
  access_token: accessToken,
  refresh_token: refreshToken,
  expires_in_seconds: seconds,
}: components["schemas"]["Tokens"]): SessionTokens {
  return { accessToken, refreshToken, endsAtMs: Date.now() + seconds * 1000 };
}
