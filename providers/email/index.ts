import type { Mailer } from "./port.ts";
import { smtp } from "./smtp.ts";

export type { Mail, Mailer, MailResult } from "./port.ts";

/** The mail server of this installation. It connects at the first mail. */
export function mailer(config: { SMTP_URL: string; MAIL_FROM: string }): Mailer {
  return smtp({ url: config.SMTP_URL, from: config.MAIL_FROM });
}
