import { unlessAborted } from "./abort.ts";
import type { components } from "./api.ts";
import { ApiError } from "./error.ts";

/** The two tokens of a session, and when the access token ends. */
export interface SessionTokens {
  accessToken: string;
  refreshToken: string;
  /** In milliseconds of Unix time. */
  endsAtMs: number;
}

/** An access token is exchanged this long before it ends. */
const RENEW_BEFORE_MS = 60_000;
/** How many exchanges are remembered, for clients that were suspended for a long time. */
const SUCCESSORS_MAX = 200;
const CHANNEL = "waybill-sessions";

/** The tokens that an exchange in this page or another tab gave, by the refresh token that it used up. */
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

/** Listens for the exchanges of other tabs of this origin, where the runtime has BroadcastChannel. */
function listen(): void {
  if (channel || typeof BroadcastChannel === "undefined") return;
  channel = new BroadcastChannel(CHANNEL);
  channel.onmessage = (event) => remember((event as { data: Exchanged }).data);
  // An open channel keeps a Node process alive.
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

/** The running exchange of this page, by the name of the lock. */
const queues = new Map<string, Promise<unknown>>();

/** One exchange at a time: in all tabs of this origin where the runtime has locks, else in this page. */
async function exclusively<T>(name: string, work: () => Promise<T>): Promise<T> {
  const locks = globalThis.navigator?.locks;
  if (locks) return (await locks.request(name, work)) as T;
  const turn = (queues.get(name) ?? Promise.resolve()).then(work, work);
  queues.set(name, turn);
  return await turn;
}

export interface SessionDeps {
  /** The platform's address. Clients of one platform exchange one after the other. */
  url: string;
  exchange: (refreshToken: string) => Promise<SessionTokens>;
  /** Reads the tokens that the listener of `onTokens` saved, as they are now. */
  kept?: () => SessionTokens | undefined | Promise<SessionTokens | undefined>;
}

export interface Session {
  /** A valid access token, exchanged when it ends soon; undefined when signed out. @throws ApiError */
  accessToken(signal: AbortSignal): Promise<string | undefined>;
  set(tokens: SessionTokens | undefined): void;
  listeners: ((tokens: SessionTokens) => void)[];
}

/**
 * Tokens that several clients may share: an exchanged refresh token that comes again ends the whole session. Before an
 * exchange a client takes over the tokens that another one has got meanwhile, in this page, another tab or from `kept`.
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
      // Another tab may have exchanged them first, and its message arrives only now.
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
        // Requests share one exchange; each waits until its own caller aborts.
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

/** The tokens of an answer of sign-in or exchange. */
export function sessionOf({
  access_token: accessToken,
  refresh_token: refreshToken,
  expires_in_seconds: seconds,
}: components["schemas"]["Tokens"]): SessionTokens {
  return { accessToken, refreshToken, endsAtMs: Date.now() + seconds * 1000 };
}
