import { languageFallbacks } from "../../../../lib/language.ts";
import { decimalText, minorUnitDigits } from "../../../../lib/money.ts";
import { shorten } from "../../../../lib/text.ts";
import {
  type Alert,
  type DirectTemplate,
  directTemplates,
  type Format,
  type Language,
  type MailLink,
  type NearTextInput,
  type OrderEvent,
  type OrderTextInput,
  type RefundTextInput,
  type ReminderTextInput,
  type Template,
  type TemplateChannel,
  type TemplateEvent,
  type Text,
} from "./catalogue.ts";
import { de } from "./de.ts";
import { en } from "./en.ts";
import { isOurs, type LinkValues, linkOf, preferencesLink } from "./links.ts";
import { type MailDesign, type MailDetails, type MailText, orderTable, renderMail } from "./mail.ts";
import {
  type RenderedTemplate,
  renderTemplate,
  TemplateError,
  textOf,
  type Values,
} from "./render-template.ts";
import { ru } from "./ru.ts";
import { tg } from "./tg.ts";
import {
  alertValues,
  directValues,
  nearValues,
  orderValues,
  refundValues,
  reminderValues,
} from "./values.ts";

export { TemplateError };

const TITLE_MAX = 200;
const BODY_MAX = 2_000;
/** Mails may be longer than pushes. With an order of any size, a mail stays below 200 KB. */
const MAIL_MAX = 8_000;
const GREETING_MAX = 200;
const FALLBACK = "en";

const languages: Readonly<Record<string, Language>> = { en, de, ru, tg };
export const builtInLanguages: readonly string[] = Object.keys(languages);

/** The operator's enabled template overrides. */
export interface TemplateOverrideLookup {
  find(event: TemplateEvent, language: string, channel: TemplateChannel): Template | undefined;
  /** Called for an override that could not be rendered; the next best template is used. */
  reportUnusable(event: TemplateEvent, language: string, channel: TemplateChannel, reason: string): void;
}

export const builtInOnly: TemplateOverrideLookup = { find: () => undefined, reportUnusable: () => undefined };

/** The channel, and the overrides that take precedence over the built-in templates. */
export interface RenderOptions {
  channel: TemplateChannel;
  overrides: TemplateOverrideLookup;
}

const PUSH_DEFAULTS: RenderOptions = { channel: "push", overrides: builtInOnly };

/** A rendered text and the language of the template that was used. */
export interface RenderedText extends Text {
  language: string;
}

/** The built-in language for a requested one: `de` for `de-AT`, English for a language that is not built in. */
export function languageOf(wanted: string): string {
  const base = baseOf(wanted);
  return Object.hasOwn(languages, base) ? base : FALLBACK;
}

/** The built-in text of a language. A mail has one more paragraph than a push: what happens next. */
export function builtIn(
  event: TemplateEvent,
  language: string,
  channel: TemplateChannel,
): Template | undefined {
  if (!Object.hasOwn(languages, language)) return undefined;
  const { title, body, next } = languageTexts(language).texts[event];
  return { title, body: channel === "email" && next ? `${body}\n\n${next}` : body };
}

/** The text about an order for its customer or deliverer. Title and body are cut to the maximum lengths. */
export function renderOrder(
  event: OrderEvent,
  input: OrderTextInput,
  language: string,
  options = PUSH_DEFAULTS,
): RenderedText {
  return renderText(event, (format) => orderValues(input, format), language, options);
}

export function renderRefund(
  refund: RefundTextInput,
  firstName: string | undefined,
  language: string,
  options = PUSH_DEFAULTS,
): RenderedText {
  const values = (format: Format) => refundValues(refund, firstName, format);
  return renderText("refund.completed:customer", values, language, options);
}

/** The reminder to partner staff about a paid order that is not accepted. */
export function renderReminder(
  reminder: ReminderTextInput,
  firstName: string,
  language: string,
  options = PUSH_DEFAULTS,
): RenderedText {
  const values = (format: Format) => reminderValues(reminder, firstName, format);
  return renderText("order.unanswered:partner", values, language, options);
}

/** The text that a courier is near the partner, for its staff, or near the customer. */
export function renderNear(
  event: "courier.near:partner" | "courier.near:customer",
  near: NearTextInput,
  firstName: string | undefined,
  language: string,
  options = PUSH_DEFAULTS,
): RenderedText {
  return renderText(event, () => nearValues(near, firstName), language, options);
}

export function renderAlert(
  alert: Alert,
  firstName: string,
  language: string,
  options = PUSH_DEFAULTS,
): RenderedText {
  return renderText("alert.raised:admin", () => alertValues(alert, firstName), language, options);
}

/** The events whose mails contain the PIN: a courier is about to ask the customer for it. */
const eventsWithPin: ReadonlySet<TemplateEvent> = new Set([
  "order.assigned:customer",
  "courier.near:customer",
]);

/** The text of a mail, and what the mail is about. Stored with deferred notifications. */
export interface NotificationMail extends RenderedText {
  /** Absent in a row of a former release. */
  details?: MailDetails;
}

/** The mail with this rendered text, with greeting and footer in its language, and with what it is about. */
export function renderTextMail(
  { title, body, language, details }: NotificationMail,
  firstName: string | undefined,
  design: MailDesign,
): MailText {
  const paragraphs = body.split("\n\n").map((text) => ({ text, prominent: false }));
  const { pages, pinOf, trackingTokenOf } = design;
  const frame = frameOf(language, "notification", firstName, design);
  const preferences = preferencesLink(pages);
  const { event, orderId, order, alert } = details ?? {};
  const words = wordsOf(language);
  const parts = {
    ...frame,
    ...(preferences && { footerLink: labelled(preferences, language) }),
    ...(event && {
      button: buttonOf(event, { orderId, alert, trackingTokenOf }, language, design),
    }),
    ...(order && { order: orderTable(order, words, formatOf(language).money, language) }),
    ...(event &&
      orderId &&
      pinOf &&
      eventsWithPin.has(event) && { pin: { label: words.pin, value: pinOf(orderId) } }),
  };
  return renderMail({ title, paragraphs }, parts, design.brand, language);
}

export interface DirectMail extends MailText {
  /** The text for the history, which must not contain the secrets of the mail. */
  summary: Text;
}

/**
 * Renders a mail that answers a user's action.
 * @param email the addressee
 * @throws TemplateError for an unknown template or a missing value
 */
export function renderDirect(
  { template, values: sent, email, language }: DirectInput,
  design: MailDesign,
  overrides: TemplateOverrideLookup = builtInOnly,
): DirectMail {
  if (!isDirectTemplate(template)) throw new TemplateError(`there is no template ${template}`);
  const { brand, pages } = design;
  const ours = { brand: brand.name, isOurs: (url: string) => isOurs(url, pages) };
  const values = (format: Format) => directValues(sent, format, ours);
  const { rendered, language: tag } = renderBestFit(template, values, language, {
    channel: "email",
    overrides,
  });
  const { first_name: firstName, code, token, link } = values(formatOf(tag));
  const parts = {
    ...frameOf(tag, "direct", firstName, design),
    button: buttonOf(template, { email, code, token, link }, tag, design),
  };
  return {
    ...renderMail({ ...rendered, paragraphs: bounded(rendered.paragraphs) }, parts, brand, tag),
    summary: {
      title: shorten(rendered.title, TITLE_MAX),
      body: languageTexts(languageOf(language)).byMailOnly,
    },
  };
}

/** The content of a `notification.requested` message, decrypted. */
export interface DirectInput {
  template: string;
  values: Readonly<Record<string, string>>;
  email: string;
  language: string;
}

/** The paragraphs, each cut to what is left of the maximum length. */
function bounded(paragraphs: RenderedTemplate["paragraphs"]): RenderedTemplate["paragraphs"] {
  let left = MAIL_MAX;
  return paragraphs.flatMap(({ text, prominent }) => {
    if (left <= 0) return [];
    const shown = shorten(text, left);
    left -= shown.length;
    return [{ text: shown, prominent }];
  });
}

function renderText(
  event: TemplateEvent,
  values: (format: Format) => Values,
  wanted: string,
  options: RenderOptions,
): RenderedText {
  const { rendered, language } = renderBestFit(event, values, wanted, options);
  const { title, body } = textOf(rendered);
  const bodyMax = options.channel === "email" ? MAIL_MAX : BODY_MAX;
  return { title: shorten(title, TITLE_MAX), body: shorten(body, bodyMax), language };
}

/** Renders the first usable template, from the reader's language through related ones to built-in English. */
function renderBestFit(
  event: TemplateEvent,
  values: (format: Format) => Values,
  wanted: string,
  { channel, overrides }: RenderOptions,
): { rendered: RenderedTemplate; language: string } {
  for (const language of languagesFor(wanted)) {
    const override = overrides.find(event, language, channel);
    if (override) {
      try {
        return { rendered: renderTemplate(override, event, values(formatOf(language)), language), language };
      } catch (error) {
        overrides.reportUnusable(event, language, channel, (error as Error).message);
      }
    }
    const builtInText = builtIn(event, language, channel);
    if (builtInText)
      return { rendered: renderTemplate(builtInText, event, values(formatOf(language)), language), language };
  }
  throw new TemplateError(`there is no text of ${event}`);
}

/** The language, its fallbacks and English, in this order. */
function languagesFor(wanted: string): ReadonlySet<string> {
  return new Set([...languageFallbacks(wanted), FALLBACK]);
}

function baseOf(language: string): string {
  return languageFallbacks(language).at(-1) ?? FALLBACK;
}

function isDirectTemplate(name: string): name is DirectTemplate {
  return (directTemplates as readonly string[]).includes(name);
}

/** Greeting and footer, in built-in languages. A text in another language has its own. */
function frameOf(
  language: string,
  kind: "notification" | "direct",
  firstName: string | undefined,
  { brand }: MailDesign,
) {
  const base = baseOf(language);
  if (!Object.hasOwn(languages, base)) return {};
  const { greeting, footer } = languageTexts(base).mail;
  return { greeting: shorten(greeting(firstName), GREETING_MAX), footer: footer[kind](brand.name) };
}

/** The words around a text. A language without built-in texts has the English ones. */
function wordsOf(language: string): Language["mail"] {
  return languageTexts(languageOf(language)).mail;
}

function buttonOf(event: TemplateEvent, values: LinkValues, language: string, { pages }: MailDesign) {
  const found = linkOf(event, values, pages);
  return found && labelled(found, language);
}

function labelled({ link, url }: { link: MailLink; url: string }, language: string) {
  return { label: wordsOf(language).links[link], url };
}

function languageTexts(tag: string): Language {
  return languages[tag] ?? en;
}

function formatOf(tag: string): Format {
  return {
    money: (amount) => moneyFormat(tag, amount.currency).format(decimalText(amount)),
    rejection: (reason) =>
      reason === "other" ? undefined : languageTexts(languageOf(tag)).rejections[reason],
    role: (role) => {
      const { roles } = languageTexts(languageOf(tag));
      return Object.hasOwn(roles, role) ? roles[role as keyof typeof roles] : undefined;
    },
  };
}

/** Creating a format takes 60 us and a mail needs several. The cache is limited, since users can set any language. */
const FORMATS_MAX = 200;
const moneyFormats = new Map<string, Intl.NumberFormat>();

/** Writes all decimals of the currency. Where none are usual, as for forints, whole amounts have none. */
function moneyFormat(tag: string, currency: string): Intl.NumberFormat {
  const key = `${tag} ${currency}`;
  const cached = moneyFormats.get(key);
  if (cached) return cached;
  const digits = minorUnitDigits(currency);
  const usual = new Intl.NumberFormat(tag, { style: "currency", currency }).resolvedOptions();
  const format = new Intl.NumberFormat(tag, {
    style: "currency",
    currency,
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
    trailingZeroDisplay: (usual.maximumFractionDigits ?? digits) < digits ? "stripIfInteger" : "auto",
  });
  if (moneyFormats.size >= FORMATS_MAX) moneyFormats.clear();
  moneyFormats.set(key, format);
  return format;
}
