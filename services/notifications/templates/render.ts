import {
  type Alert,
  type Amount,
  type DirectTemplate,
  directTemplates,
  type Format,
  type Language,
  type OrderEvent,
  type OrderNews,
  type Text,
  type Values,
} from "./catalogue.ts";
import { de } from "./de.ts";
import { en } from "./en.ts";
import { type MailText, mailOf } from "./mail.ts";

const TITLE_MAX = 200;
const BODY_MAX = 2_000;
const FALLBACK = "en";

const languages: Readonly<Record<string, Language>> = { en, de };

/** A direct send that asks for something that there is not; a repeat will not help. */
export class TemplateError extends Error {}

/** The language that is written for a wanted one: `de-AT` reads `de`, one that we do not have reads English. */
export function languageOf(wanted: string): string {
  const [base = FALLBACK] = wanted.toLowerCase().split("-");
  return Object.hasOwn(languages, base) ? base : FALLBACK;
}

/** What the customer or deliverer reads of an order, short enough for every phone and column. */
export function renderOrder(event: OrderEvent, news: OrderNews, language: string): Text {
  const tag = languageOf(language);
  return clippedText(textsOf(tag).orders[event](news, formatOf(tag)));
}

export function renderRefund(amount: Amount, language: string): Text {
  const tag = languageOf(language);
  return clippedText(textsOf(tag).refunded(amount, formatOf(tag)));
}

export function renderAlert({ kind, subject, detail }: Alert, language: string): Text {
  return clippedText(textsOf(languageOf(language)).alert({ kind, subject, detail }));
}

/** The mail that says the same as the push. */
export function renderTextMail(text: Text, firstName: string | undefined, language: string): MailText {
  const tag = languageOf(language);
  const { greeting, footer } = textsOf(tag).mail;
  const letter = { title: text.title, paragraphs: [text.body] };
  return mailOf(letter, { greeting, footer: footer.news }, firstName, tag);
}

export interface DirectMail extends MailText {
  /** What the history keeps: the codes in the mail itself are nobody else's business. */
  summary: Text;
}

/** @throws TemplateError for an unknown template, or when a value that it needs is missing */
export function renderDirect(
  template: string,
  values: Readonly<Record<string, string>>,
  language: string,
): DirectMail {
  if (!isDirectTemplate(template)) throw new TemplateError(`there is no template ${template}`);
  const tag = languageOf(language);
  const texts = textsOf(tag);
  const { greeting, footer } = texts.mail;
  const text = texts.direct[template](valuesOf(template, values));
  return {
    ...mailOf(text, { greeting, footer: footer.direct }, values.firstName, tag),
    summary: { title: clipped(text.title, TITLE_MAX), body: texts.byMailOnly },
  };
}

function isDirectTemplate(name: string): name is DirectTemplate {
  return (directTemplates as readonly string[]).includes(name);
}

function valuesOf(template: string, values: Readonly<Record<string, string>>): Values {
  const get = (name: string) => (Object.hasOwn(values, name) ? values[name] : undefined);
  return {
    get,
    need(name) {
      const value = get(name);
      if (!value) throw new TemplateError(`the template ${template} needs the value ${name}`);
      return value;
    },
  };
}

function textsOf(tag: string): Language {
  return languages[tag] ?? en;
}

function formatOf(tag: string): Format {
  return {
    money({ amountMinor, currency }) {
      const format = new Intl.NumberFormat(tag, { style: "currency", currency });
      const digits = format.resolvedOptions().maximumFractionDigits ?? 2;
      return format.format(amountMinor / 10 ** digits);
    },
  };
}

function clippedText({ title, body }: Text): Text {
  return { title: clipped(title, TITLE_MAX), body: clipped(body, BODY_MAX) };
}

function clipped(text: string, max: number): string {
  return text.length > max ? `${text.slice(0, max - 1)}…` : text;
}
