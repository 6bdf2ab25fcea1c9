import { languageFallbacks } from "../../../../lib/language.ts";
import { decimalText, minorUnitDigits } from "../../../../lib/money.ts";
import { shorten } from "../../../../lib/text.ts";
import {
  type Alert,
  type Amount,
  type DirectTemplate,
  directTemplates,
  type Format,
  type Language,
  type OrderEvent,
  type OrderNews,
  type Template,
  type TemplateChannel,
  type TemplateEvent,
  type Text,
} from "./catalogue.ts";
import { de } from "./de.ts";
import { en } from "./en.ts";
import { type Frame, type MailText, mailOf } from "./mail.ts";
import { type Filled, renderTemplate, TemplateError, textOf, type Values } from "./render-template.ts";
import { alertValues, directValues, orderValues, refundValues } from "./values.ts";

export { TemplateError };

const TITLE_MAX = 200;
const BODY_MAX = 2_000;
/** A mail may say more than a push. */
const MAIL_MAX = 20_000;
const FALLBACK = "en";

const languages: Readonly<Record<string, Language>> = { en, de };
export const builtInLanguages: readonly string[] = Object.keys(languages);

/** The operator's own texts that are switched on. */
export interface TemplateTexts {
  find(event: TemplateEvent, language: string, channel: TemplateChannel): Template | undefined;
  /** Told of one that could not be used this time. */
  broken(event: TemplateEvent, language: string, channel: TemplateChannel, why: string): void;
}

export const builtInOnly: TemplateTexts = { find: () => undefined, broken: () => undefined };

/** By which channel somebody is told, and what the operator has to say instead of what is built in. */
export interface Way {
  channel: TemplateChannel;
  own: TemplateTexts;
}

const byPush: Way = { channel: "push", own: builtInOnly };

/** A text with the language that it came out in. */
export interface Written extends Text {
  language: string;
}

/** The built-in language for a wanted one: `de-AT` reads `de`, one that we do not have reads English. */
export function languageOf(wanted: string): string {
  const base = baseOf(wanted);
  return Object.hasOwn(languages, base) ? base : FALLBACK;
}

export function builtIn(event: TemplateEvent, language: string): Template | undefined {
  return Object.hasOwn(languages, language) ? languages[language]?.texts[event] : undefined;
}

/** What the customer or deliverer reads of an order, short enough for every phone and column. */
export function renderOrder(event: OrderEvent, news: OrderNews, language: string, way = byPush): Written {
  return written(event, (format) => orderValues(news, format), language, way);
}

export function renderRefund(
  amount: Amount,
  firstName: string | undefined,
  language: string,
  way = byPush,
): Written {
  const values = (format: Format) => refundValues(amount, firstName, format);
  return written("refund.completed:customer", values, language, way);
}

export function renderAlert(alert: Alert, firstName: string, language: string, way = byPush): Written {
  return written("alert.raised:admin", () => alertValues(alert, firstName), language, way);
}

/** The mail around a text that is in this language. */
export function renderTextMail(
  { title, body }: Text,
  firstName: string | undefined,
  language: string,
): MailText {
  const paragraphs = body.split("\n\n").map((text) => ({ text, standsOut: false }));
  return mailOf({ title, paragraphs }, frameOf(language, "news"), firstName, language);
}

export interface DirectMail extends MailText {
  /** What the history keeps: the codes in the mail itself are nobody else's business. */
  summary: Text;
}

/** @throws TemplateError for an unknown template, or when a value that it needs is missing */
export function renderDirect(
  template: string,
  sent: Readonly<Record<string, string>>,
  language: string,
  own: TemplateTexts = builtInOnly,
): DirectMail {
  if (!isDirectTemplate(template)) throw new TemplateError(`there is no template ${template}`);
  const values = directValues(sent);
  const { filled, language: tag } = filledBest(template, () => values, language, { channel: "email", own });
  return {
    ...mailOf(filled, frameOf(tag, "direct"), values.first_name, tag),
    summary: { title: shorten(filled.title, TITLE_MAX), body: textsOf(languageOf(language)).byMailOnly },
  };
}

function written(
  event: TemplateEvent,
  values: (format: Format) => Values,
  wanted: string,
  way: Way,
): Written {
  const { filled, language } = filledBest(event, values, wanted, way);
  const { title, body } = textOf(filled);
  const bodyMax = way.channel === "email" ? MAIL_MAX : BODY_MAX;
  return { title: shorten(title, TITLE_MAX), body: shorten(body, bodyMax), language };
}

/** The first text that can be written, from the one that fits its reader best to the one that is always there. */
function filledBest(
  event: TemplateEvent,
  values: (format: Format) => Values,
  wanted: string,
  { channel, own }: Way,
): { filled: Filled; language: string } {
  for (const language of languagesFor(wanted)) {
    const mine = own.find(event, language, channel);
    if (mine) {
      try {
        return { filled: renderTemplate(mine, event, values(formatOf(language))), language };
      } catch (error) {
        own.broken(event, language, channel, (error as Error).message);
      }
    }
    const ours = language === FALLBACK ? undefined : builtIn(event, language);
    if (ours) return { filled: renderTemplate(ours, event, values(formatOf(language))), language };
  }
  return { filled: renderTemplate(en.texts[event], event, values(formatOf(FALLBACK))), language: FALLBACK };
}

/** The language itself, those that its readers understand as well, English. */
function languagesFor(wanted: string): ReadonlySet<string> {
  return new Set([...languageFallbacks(wanted), FALLBACK]);
}

function baseOf(language: string): string {
  return languageFallbacks(language).at(-1) ?? FALLBACK;
}

function isDirectTemplate(name: string): name is DirectTemplate {
  return (directTemplates as readonly string[]).includes(name);
}

function frameOf(language: string, kind: "news" | "direct"): Frame | undefined {
  const base = baseOf(language);
  if (!Object.hasOwn(languages, base)) return undefined;
  const { greeting, footer } = textsOf(base).mail;
  return { greeting, footer: footer[kind] };
}

function textsOf(tag: string): Language {
  return languages[tag] ?? en;
}

function formatOf(tag: string): Format {
  return { money: (amount) => moneyFormat(tag, amount.currency).format(decimalText(amount)) };
}

/** Making one takes 60 us, and a letter wants several. Languages are whatever people say they read: not all are kept. */
const FORMATS_MAX = 200;
const moneyFormats = new Map<string, Intl.NumberFormat>();

/** Every decimal that the amount has; where people write none, as in forints, none of an even amount. */
function moneyFormat(tag: string, currency: string): Intl.NumberFormat {
  const key = `${tag} ${currency}`;
  const known = moneyFormats.get(key);
  if (known) return known;
  const digits = minorUnitDigits(currency);
  const usual = new Intl.NumberFormat(tag, { style: "currency", currency }).resolvedOptions();
  const made = new Intl.NumberFormat(tag, {
    style: "currency",
    currency,
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
    trailingZeroDisplay: (usual.maximumFractionDigits ?? digits) < digits ? "stripIfInteger" : "auto",
  });
  if (moneyFormats.size >= FORMATS_MAX) moneyFormats.clear();
  moneyFormats.set(key, made);
  return made;
}
