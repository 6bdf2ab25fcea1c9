/** One push to one device. */
export interface Push {
  /** The device's token at this provider. */
  token: string;
  title: string;
  body: string;
  /** Data for the app, such as the order's id. */
  data: Readonly<Record<string, string>>;
  /**
   * A UUID that is the same for every attempt of this push, which makes a repeat safe: the provider drops the
   * duplicate, or the device replaces the shown one.
   */
  collapseId: string;
  /** The settings of the sending agent, by the names in the provider's `requires`. */
  settings: Readonly<Record<string, string>>;
  /** Time limit of this attempt in milliseconds. */
  timeoutMs: number;
}

/**
 * The result of an attempt.
 * - `accepted`: the provider has accepted the push.
 * - `refused`: the push was certainly not sent.
 * - `unregistered`: not sent, and no push to this token can succeed; the token can be deleted.
 * - `unclear`: the push may have been sent (no answer, or an answer that leaves it open). A repeat must have the same
 *   `collapseId`.
 */
export interface PushResult {
  outcome: "accepted" | "refused" | "unregistered" | "unclear";
  /** The provider's answer without secrets, for the history and the operator; at most 300 characters. */
  detail: string;
  /**
   * `token`: the failure concerns this token, message or device only, and the service works. Absent: the service failed,
   * or the cause is unknown.
   */
  concerns?: "token";
  /** Milliseconds for which the provider asks to send no push at all. */
  retryAfterMs?: number;
}

export interface PushProvider {
  readonly name: string;
  /** Names of the required settings. */
  readonly requires: readonly string[];
  /** An error message for the admin who enters the settings; undefined when they are valid. */
  check(settings: Readonly<Record<string, string>>): string | undefined;
  /**
   * The server that receives pushes to this token, where a provider has several: the push service of the browser. A
   * failing server then does not delay pushes to the others.
   */
  serverOf?(token: string): string;
  /**
   * The group of pushes that share one concurrency limit, where it is not the whole provider. Tokens with an address
   * that a user can choose form one group: otherwise a user with many addresses could occupy all slots.
   */
  concurrencyGroupOf?(token: string): string;
  /** Never rejects: every failure is an outcome. */
  send(push: Push): Promise<PushResult>;
  /** Closes connections; absent where a provider keeps none. No push may be sent afterwards. */
  close?(): Promise<void>;
}
