import { pluralCategory } from "../../../../lib/language.ts";
import { shorten } from "../../../../lib/text.ts";
import type { Amount, Language, PluralForms, TemplateEvent } from "./catalogue.ts";
import type { MailPages } from "./links.ts";
import { type Brand, type LabelledLink, layout, type MailParts, type OrderTable } from "./mail-layout.ts";
import type { RenderedTemplate } from "./render-template.ts";

/** More products of an order are counted. */
const LINES_MAX = 30;
const PRODUCT_MAX = 120;

/** How all mails of this platform look, and where they lead. */
export interface MailDesign {
  brand: Brand;
  pages: MailPages;
  /** The PIN of an order. Absent: mails contain no PIN. */
  pinOf?: (orderId: string) => string;
  /** The token of the gateway's tracking page. Absent: mails do not link to it. */
  trackingTokenOf?: (orderId: string) => string;
}

/** The content of an order that its mails list. */
export interface OrderDetails {
  number?: string | undefined;
  lines: readonly { title: string; quantity: number; unitPrice: Amount }[];
  fee: Amount;
  total: Amount;
}

/** The parts of a mail besides its text. Stored with deferred notifications, so it contains no PIN. */
export interface MailDetails {
  event: TemplateEvent;
  orderId?: string | undefined;
  order?: OrderDetails | undefined;
  alert?: { kind: string; subject: string } | undefined;
}

export interface MailText {
  subject: string;
  text: string;
  html: string;
  language: string;
}

/** The products of an order with their prices, the fee and the total, in the words of a language. */
export function orderTable(
  { number, lines, fee, total }: OrderDetails,
  words: Language["mail"],
  money: (amount: Amount) => string,
  language: string,
): OrderTable {
  const shown = lines.slice(0, LINES_MAX).map(({ title, quantity, unitPrice }) => ({
    name: `${quantity} × ${shorten(title, PRODUCT_MAX)}`,
    amount: money({ ...unitPrice, amountMinor: unitPrice.amountMinor * quantity }),
  }));
  const more = lines.length - shown.length;
  return {
    title: words.order(number),
    rows: [
      ...shown,
      ...(more > 0 ? [{ name: `+ ${more} ${pluralForm(words.moreProducts, language, more)}` }] : []),
      ...(fee.amountMinor > 0 ? [{ name: words.fee, amount: money(fee) }] : []),
    ],
    total: { name: words.total, amount: money(total) },
  };
}

function pluralForm(forms: PluralForms, language: string, count: number): string {
  return forms[pluralCategory(language, count)] ?? forms.other;
}

/** Renders a mail as plain text and as HTML with the same content. */
export function renderMail(
  template: RenderedTemplate,
  parts: MailParts,
  brand: Brand,
  language: string,
): MailText {
  return {
    subject: template.title,
    text: plainText(template, parts),
    html: layout(template, parts, brand, language),
    language,
  };
}

function plainText({ paragraphs }: RenderedTemplate, parts: MailParts): string {
  const { greeting, footer, footerLink, pin, order, button } = parts;
  const isLinkShown = button && paragraphs.some(({ text }) => text === button.url);
  const blocks = [
    greeting,
    ...paragraphs.map(({ text, prominent }) => (prominent ? `    ${text}` : text)),
    pin && `${pin.label}: ${pin.value}`,
    order &&
      [
        order.title,
        ...[...order.rows, order.total].map(({ name, amount }) => (amount ? `${name}: ${amount}` : name)),
      ].join("\n"),
    button && !isLinkShown ? linkText(button) : undefined,
    (footer || footerLink) && ["-- ", footer, footerLink && linkText(footerLink)].filter(Boolean).join("\n"),
  ];
  return blocks.filter(Boolean).join("\n\n");
}

function linkText({ label, url }: LabelledLink): string {
  return `${label}:\n${url}`;
}
