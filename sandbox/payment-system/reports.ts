import { randomUUID } from "node:crypto";
import { Webhook } from "standardwebhooks";

const TIMEOUT_MS = 5_000;
const WAITS_MS = [500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 120_000, 300_000, 600_000];
const REPORTS_MAX = 1_000;

export interface Report {
  id: string;
  url: string;
  body: string;
  checkoutId: string;
  type: string;
  tries: number;
  /** Status of the last answer; absent without an answer. */
  status?: number;
  state: "waiting" | "accepted" | "given up";
}

/**
 * Sends signed reports (Standard Webhooks) to merchants and retries until they answer 2xx. The reports carry no trace
 * context, as with a real bank.
 */
export function reportSender(secret: string) {
  const webhook = new Webhook(secret);
  const sent: Report[] = [];
  const timers = new Set<NodeJS.Timeout>();
  const stopping = new AbortController();

  async function post(report: Report): Promise<void> {
    report.tries += 1;
    const at = new Date();
    try {
      const response = await fetch(report.url, {
        method: "POST",
        redirect: "manual",
        headers: {
          "content-type": "application/json",
          "user-agent": "sandbox-pay/1",
          "webhook-id": report.id,
          "webhook-timestamp": String(Math.floor(at.getTime() / 1000)),
          "webhook-signature": webhook.sign(report.id, at, report.body),
        },
        body: report.body,
        signal: AbortSignal.any([AbortSignal.timeout(TIMEOUT_MS), stopping.signal]),
      });
      await response.arrayBuffer();
      report.status = response.status;
      if (response.ok) {
        report.state = "accepted";
        return;
      }
    } catch {
      delete report.status;
    }
    const waitMs = WAITS_MS[report.tries - 1];
    if (waitMs === undefined) report.state = "given up";
    else retryLater(report, waitMs);
  }

  function retryLater(report: Report, waitMs: number): void {
    if (stopping.signal.aborted) return;
    const timer = setTimeout(() => {
      timers.delete(timer);
      void post(report);
    }, waitMs);
    timers.add(timer.unref());
  }

  return {
    /** Starts the first attempt and does not wait for it. */
    send(to: { url: string; checkoutId: string }, type: string, data: object): void {
      const id = `evt_${randomUUID()}`;
      const report: Report = {
        ...to,
        id,
        type,
        body: JSON.stringify({ type, data }),
        tries: 0,
        state: "waiting",
      };
      sent.push(report);
      if (sent.length > REPORTS_MAX) sent.shift();
      void post(report);
    },
    /** Sends the same report again, as a duplicate in the network. */
    repeat(id: string): void {
      const report = sent.find((one) => one.id === id);
      if (report) void post({ ...report });
    },
    of: (checkoutId: string) => sent.filter((report) => report.checkoutId === checkoutId),
    stop(): void {
      stopping.abort();
      for (const timer of timers) clearTimeout(timer);
    },
  };
}

export type Reports = ReturnType<typeof reportSender>;
