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
  type OrderTextInput,
  type Template,
  type TemplateChannel,
  type TemplateEvent,
  type Text,
} from "./catalogue.ts";
import { de } from "./de.ts";
import { en } from "./en.ts";
import { type MailFrame, type MailText, renderMail } from "./mail.ts";
import {
  type RenderedTemplate,
  renderTemplate,
  TemplateError,
  textOf,
  type Values,
} from "./render-template.ts";
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
export interface TemplateOverrideLookup {
  find(event: TemplateEvent, language: string, channel: TemplateChannel): Template | undefined;
  /** Told of one that could not be used this time. */
  reportUnusable(event: TemplateEvent, language: string, channel: TemplateChannel, why: string): void;
}

export const builtInOnly: TemplateOverrideLookup = { find: () => undefined, reportUnusable: () => undefined };

/** By which channel somebody is told, and what the operator has to say instead of what is built in. */
export interface RenderOptions {
  channel: TemplateChannel;
  overrides: TemplateOverrideLookup;
}

const PUSH_DEFAULTS: RenderOptions = { channel: "push", overrides: builtInOnly };

/** A text with the language that it came out in. */
export interface RenderedText extends Text {
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
export function renderOrder(
  event: OrderEvent,
  news: OrderTextInput,
  language: string,
  options = PUSH_DEFAULTS,
): RenderedText {
  return renderText(event, (format) => orderValues(news, format), language, options);
}

export function renderRefund(
  amount: Amount,
  firstName: string | undefined,
  language: string,
  options = PUSH_DEFAULTS,
): RenderedText {
  const values = (format: Format) => refundValues(amount, firstName, format);
  return renderText("refund.completed:customer", values, language, options);
}

export function renderAlert(
  alert: Alert,
  firstName: string,
  language: string,
  options = PUSH_DEFAULTS,
): RenderedText {
  return renderText("alert.raised:admin", () => alertValues(alert, firstName), language, options);
}

/** The mail around a text that is in this language. */
export function renderTextMail(
  { title, body }: Text,
  firstName: string | undefined,
  language: string,
): MailText {
  const paragraphs = body.split("\n\n").map((text) => ({ text, prominent: false }));
  return renderMail({ title, paragraphs }, frameOf(language, "news"), firstName, language);
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
  overrides: TemplateOverrideLookup = builtInOnly,
): DirectMail {
  if (!isDirectTemplate(template)) throw new TemplateError(`there is no template ${template}`);
  const values = directValues(sent);
  const { rendered, language: tag } = renderBestFit(template, () => values, language, {
    channel: "email",
    overrides,
  });
  return {
    ...renderMail(rendered, frameOf(tag, "direct"), values.first_name, tag),
    summary: {
      title: shorten(rendered.title, TITLE_MAX),
      body: languageTexts(languageOf(language)).byMailOnly,
    },
  };
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

/** The first text that can be written, from the one that fits its reader best to the one that is always there. */
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
        return { rendered: renderTemplate(override, event, values(formatOf(language))), language };
      } catch (error) {
        overrides.reportUnusable(event, language, channel, (error as Error).message);
      }
    }
    const builtInText = language === FALLBACK ? undefined : builtIn(event, language);
    if (builtInText)
      return { rendered: renderTemplate(builtInText, event, values(formatOf(language))), language };
  }
  return { rendered: renderTemplate(en.texts[event], event, values(formatOf(FALLBACK))), language: FALLBACK };
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

function frameOf(language: string, kind: "news" | "direct"): MailFrame | undefined {
  const base = baseOf(language);
  if (!Object.hasOwn(languages, base)) return undefined;
  const { greeting, footer } = languageTexts(base).mail;
  return { greeting, footer: footer[kind] };
}

function languageTexts(tag: string): Language {
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
