export interface Mail {
  /** One address, without a name. */
  to: string;
  subject: string;
  text: string;
  html: string;
  /** The same however often this mail is tried, so that a mailbox can drop the repeat; without angle brackets. */
  messageId: string;
  /** BCP 47, of the text. */
  language: string;
}

export interface MailResult {
  /** `unclear`: the connection ended after the text was sent and before the server's word. */
  outcome: "accepted" | "refused" | "unclear";
  /** Whether a later try may succeed: the server was away, busy or said 4yz. */
  retryable: boolean;
  /** The server's word, for the history and the operator; at most 500 characters. */
  detail: string;
}

export interface Mailer {
  readonly name: string;
  /**
   * Never rejects: every failure is a result.
   * @param timeoutMs the whole time for this try
   */
  send(mail: Mail, timeoutMs: number): Promise<MailResult>;
  close(): void;
}
