/** One push to one device. */
export interface Push {
  /** The device's address with this provider. */
  token: string;
  title: string;
  body: string;
  /** For the app: what was it about. */
  data: Readonly<Record<string, string>>;
  /**
   * A UUID that is the same however often this push is tried: the provider drops the repeat, or else the device
   * replaces what it shows. It is what makes a second try safe.
   */
  collapseId: string;
  /** Of the agent that sends, by the names that the provider's `requires` lists. */
  settings: Readonly<Record<string, string>>;
  /** The provider's whole time for this try, in milliseconds. */
  timeoutMs: number;
}

/**
 * What became of a try.
 * - `accepted`: the provider has taken it.
 * - `refused`: it certainly has not, and nothing was shown.
 * - `unregistered`: nor will it ever for this token, which can be forgotten.
 * - `unclear`: nobody can tell (no answer, or one that does not say); only the same push may be tried again.
 */
export interface PushResult {
  outcome: "accepted" | "refused" | "unregistered" | "unclear";
  /** For the history and the operator: the provider's word, without secrets; at most 500 characters. */
  detail: string;
  /**
   * `token`: said of this token, message or device alone, so that it says nothing against the service. Absent: the
   * service itself is at fault, or it cannot be told.
   */
  concerns?: "token";
  /** Where the provider asks to be left alone: for how long, in milliseconds. It holds for all its pushes. */
  retryAfterMs?: number;
}

export interface PushProvider {
  readonly name: string;
  /** The settings without which it cannot send. */
  readonly requires: readonly string[];
  /** What is wrong with these settings, for the person who enters them; undefined when they are fine. */
  check(settings: Readonly<Record<string, string>>): string | undefined;
  /**
   * What fails together with a push to this token, where that is less than the whole provider: the push service that a
   * browser has chosen. Whoever answers nothing there keeps nobody else from their pushes.
   */
  lineOf?(token: string): string;
  /**
   * Which pushes share one part of the places for pushes, where that is not the whole provider. Tokens that name an
   * address of somebody's own share one part, or somebody with many addresses would hold them all.
   */
  shareOf?(token: string): string;
  /** Never rejects: every failure is one of the outcomes. */
  send(push: Push): Promise<PushResult>;
  /** Ends what it keeps open between pushes; absent where that is nothing. No push is sent afterwards. */
  close?(): Promise<void>;
}
