import { setTimeout as delay } from "node:timers/promises";
import { type ApiError, type Waybill, waybill } from "../client/src/index.ts";

/** A platform that has just started may be busy: what it could not do is asked for again. */
const TRIES = 8;
const BUSY_TRIES = 30;
const BUSY_WAIT_MS = 300;

/** A client for the start, with more patience than others. */
export function patientClient(url: string): Waybill {
  return waybill({ url, tries: TRIES });
}

/** Does again what has no key of its own, such as a registration, while the platform is busy. @throws ApiError */
export async function patiently<T>(work: () => Promise<T>): Promise<T> {
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
