export interface Mail {
  /** One address, without a name. */
  to: string;
  subject: string;
  text: string;
  html: string;
  /** Without angle brackets. The same for every attempt, so that a mailbox can drop the duplicate. */
  messageId: string;
  /** Language tag of the text, BCP 47. */
  language: string;
}

export interface MailResult {
  /** `unclear`: the connection ended after the text was sent and before the server answered. */
  outcome: "accepted" | "refused" | "unclear";
  /** Whether a later attempt may succeed: the server was unreachable or busy, or answered 4yz. */
  retryable: boolean;
  /** The server's answer, for the history and the operator; at most 300 characters. */
  detail: string;
}

export interface Mailer {
  readonly name: string;
  /**
   * Never rejects: every failure is a result.
   * @param timeoutMs time limit for the whole attempt
   */
  send(mail: Mail, timeoutMs: number): Promise<MailResult>;
  close(): void;
}
