import type { MailLink, TemplateEvent } from "./catalogue.ts";

/** The pages that mails link to. */
export interface MailPages {
  /** The front app (`APP_URL`). */
  appUrl?: string | undefined;
  /** The gateway, which has the pages without which a mail would be useless. */
  publicUrl: string;
}

/** The values that links contain. */
export interface LinkValues {
  orderId?: string | undefined;
  /** Opens the gateway's tracking page of the order. */
  trackingTokenOf?: ((orderId: string) => string) | undefined;
  alert?: { kind: string; subject: string } | undefined;
  email?: string | undefined;
  code?: string | undefined;
  token?: string | undefined;
  link?: string | undefined;
}

interface Link {
  link: MailLink;
  url: string;
}

/** The pages of the gateway, which are used without a front app. */
const ownPages: ReadonlySet<string> = new Set([
  "/email/confirm",
  "/password/forgot",
  "/password/reset",
  "/invitations/accept",
]);

/**
 * The button of a mail. Secrets are in the fragment of the URL: browsers send it to no server, and no log contains it.
 * @returns undefined where there is no page to link to
 */
export function linkOf(event: TemplateEvent, values: LinkValues, pages: MailPages): Link | undefined {
  const { orderId, email, code, token, link, alert } = values;
  switch (event) {
    case "confirm-email":
      return at(pages, "confirmEmail", "/email/confirm", { email, code });
    case "change-email":
      return at(pages, "confirmEmail", "/me/email/confirm", { code });
    case "reset-password":
      return at(pages, "newPassword", "/password/reset", { email, code });
    case "invitation":
      return at(pages, "acceptInvitation", "/invitations/accept", { token });
    case "password-changed":
      return at(pages, "newPassword", "/password/forgot");
    case "account-exists":
      return at(pages, "signIn", "/sign-in");
    case "webhook-disabled":
      return at(pages, "webhook", "/partner/webhook");
    case "email-changed":
      return link === undefined ? undefined : { link: "undo", url: link };
    case "alert.raised:admin":
      return (
        alert &&
        at(pages, "alert", `/alerts/${encodeURIComponent(alert.kind)}/${encodeURIComponent(alert.subject)}`)
      );
    default:
      return orderId === undefined ? undefined : orderLink(event, orderId, values.trackingTokenOf, pages);
  }
}

function orderLink(
  event: TemplateEvent,
  orderId: string,
  trackingTokenOf: LinkValues["trackingTokenOf"],
  pages: MailPages,
): Link | undefined {
  if (event.endsWith(":customer")) {
    if (pages.appUrl || !trackingTokenOf) return at(pages, "order", `/orders/${orderId}`);
    return { link: "order", url: `${pages.publicUrl}/track#${trackingTokenOf(orderId)}` };
  }
  if (event.endsWith(":partner")) return at(pages, "work", `/partner/orders/${orderId}`);
  return event.endsWith(":deliverer") ? at(pages, "work", `/deliveries/${orderId}`) : undefined;
}

/** The page where users choose which notifications are mailed. */
export function preferencesLink(pages: MailPages): Link | undefined {
  return at(pages, "preferences", "/settings/notifications");
}

/** Whether a URL leads to the front app or to the gateway. */
export function isOurs(url: string, { appUrl, publicUrl }: MailPages): boolean {
  const origin = URL.parse(url)?.origin;
  return (
    origin !== undefined &&
    origin !== "null" &&
    [appUrl, publicUrl].some((ours) => ours && new URL(ours).origin === origin)
  );
}

function at(
  { appUrl, publicUrl }: MailPages,
  link: MailLink,
  path: string,
  secrets: Readonly<Record<string, string | undefined>> = {},
): Link | undefined {
  const base = appUrl ?? (ownPages.has(path) ? publicUrl : undefined);
  const given = Object.entries(secrets).filter((entry): entry is [string, string] => entry[1] !== undefined);
  const fragment = new URLSearchParams(given).toString();
  return base === undefined ? undefined : { link, url: `${base}${path}${fragment && `#${fragment}`}` };
}
