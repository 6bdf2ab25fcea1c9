import { setTimeout as delay } from "node:timers/promises";
import { type ApiError, type Waybill, waybill } from "@waybill/client";

/** A platform that has just started may be busy, so the set-up retries more often than a usual client. */
const TRIES = 8;
const BUSY_TRIES = 30;
const BUSY_WAIT_MS = 300;
/** In a cluster the gateway may be ready before the identity service has created the first admin. */
const ACCOUNT_TRIES = 20;
const ACCOUNT_WAIT_MS = 2_000;

/** A client with more retries than the default, for the set-up. */
export function clientWithRetries(url: string): Waybill {
  return waybill({ url, tries: TRIES });
}

/** Retries a request without an idempotency key, such as a registration, while the platform is busy. @throws ApiError */
export async function retryWhileBusy<T>(work: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await work();
    } catch (error) {
      const busy = [0, 429, 503].includes((error as ApiError).status);
      if (tries === BUSY_TRIES || !busy) throw error;
      await delay(BUSY_WAIT_MS);
    }
  }
}

/** Signs in, and retries while the account does not exist yet. @throws ApiError */
export async function signInWhenReady(
  as: Waybill,
  account: { email: string; password: string },
): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      await retryWhileBusy(() => as.signIn(account));
      return;
    } catch (error) {
      const early = [401, 503].includes((error as ApiError).status);
      if (tries === ACCOUNT_TRIES || !early) throw error;
      await delay(ACCOUNT_WAIT_MS);
    }
  }
}
