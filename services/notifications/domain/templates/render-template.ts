import type { FieldError } from "../../../../contracts/errors.ts";
import { pluralCategory } from "../../../../lib/language.ts";
import type { Template, TemplateEvent } from "./catalogue.ts";
import { type Placeholder, placeholdersByEvent } from "./placeholders.ts";

/** A template cannot be rendered: it has a syntax error, an unknown placeholder or lacks a value. */
export class TemplateError extends Error {}

/** Values by the names of placeholders. An empty value counts as missing. */
export type Values = Readonly<Record<string, string | undefined>>;

export interface Paragraph {
  text: string;
  /** A paragraph that is only a code or token. It is displayed large. */
  prominent: boolean;
}

export interface RenderedTemplate {
  title: string;
  paragraphs: readonly Paragraph[];
}

interface PlaceholderReference {
  name: string;
  /** Used when there is no value. */
  defaultText?: string;
  /** The words for a number by its plural category. They replace the number. */
  forms?: ReadonlyMap<string, string>;
}
type Piece = string | PlaceholderReference;
/** An array is a `[[section]]`, which is left out when a placeholder in it has neither value nor default. */
type Part = Piece | readonly Piece[];

/** Splits a text into brackets, placeholder references and the text between them. */
const TOKENS = /(\{\{[^{}]*\}\}|\[\[|\]\])/;
const REFERENCE = /^\{\{\s*([a-z][a-z_]*)\s*(?:\|([^{}]*)|:([^{}]*))?\}\}$/;
/** One of the forms in `{{days: one day | other days}}`. */
const FORM = /^(zero|one|two|few|many|other)\s+(\S(?:.*\S)?)$/;
const LONE_BRACES = /\{\{|\}\}/;
const EMPTY_LINES = /\n{2,}/;

/** @throws TemplateError for unbalanced brackets or braces */
function parse(text: string): Part[] {
  const parts: Part[] = [];
  let inner: Piece[] | undefined;
  for (const token of text.split(TOKENS)) {
    if (token === "") continue;
    if (token === "[[") {
      if (inner) throw new TemplateError("A part in [[ ]] holds no other one.");
      inner = [];
    } else if (token === "]]") {
      if (!inner) throw new TemplateError("There is a ]] without its [[ in the same paragraph.");
      parts.push(inner);
      inner = undefined;
    } else (inner ?? parts).push(pieceOf(token));
  }
  if (inner) throw new TemplateError("There is a [[ without its ]] in the same paragraph.");
  return parts;
}

function pieceOf(token: string): Piece {
  if (!LONE_BRACES.test(token)) return token;
  const [, name, defaultText, forms] = REFERENCE.exec(token) ?? [];
  if (!name)
    throw new TemplateError("Braces come in pairs around a name in small letters, as {{first_name}}.");
  if (forms !== undefined) return { name, forms: new Map(forms.split("|").map(formOf)) };
  return defaultText === undefined ? { name } : { name, defaultText };
}

function formOf(text: string): [category: string, words: string] {
  const [, category, words] = FORM.exec(text.trim()) ?? [];
  if (!category || !words)
    throw new TemplateError(
      "Each form begins with zero, one, two, few, many or other: {{days: one day | other days}}.",
    );
  return [category, words];
}

const isReference = (piece: Piece): piece is PlaceholderReference => typeof piece !== "string";

/**
 * Renders the template with these values.
 * @param language of the template: it decides the plural forms
 * @throws TemplateError for a placeholder that the event does not have, a missing value or an empty result
 */
export function renderTemplate(
  { title, body }: Template,
  event: TemplateEvent,
  values: Values,
  language: string,
): RenderedTemplate {
  const placeholders = placeholdersByEvent[event];
  const render = (parts: readonly Part[]) =>
    parts
      .map((part) => partText(part, event, values, language))
      .join("")
      .trim();
  const subject = render(parse(title)).replace(/\s+/g, " ");
  const paragraphs = body
    .split(EMPTY_LINES)
    .map((paragraph): Paragraph => {
      const parts = parse(paragraph.trim());
      return { text: render(parts), prominent: isSecretAlone(parts, placeholders) };
    })
    .filter(({ text }) => text !== "");
  if (subject === "" || paragraphs.length === 0) throw new TemplateError("Without values it is empty.");
  return { title: subject, paragraphs };
}

function partText(part: Part, event: TemplateEvent, values: Values, language: string): string {
  if (typeof part === "string") return part;
  if (isList(part)) {
    const missing = part.some((piece) => isReference(piece) && valueIn(piece, event, values) === undefined);
    return missing ? "" : part.map((piece) => partText(piece, event, values, language)).join("");
  }
  const value = valueIn(part, event, values);
  if (value === undefined) throw new TemplateError(`the template ${event} needs the value ${part.name}`);
  const { forms } = part;
  return forms
    ? (forms.get(pluralCategory(language, Number(value))) ?? [...forms.values()].at(-1) ?? "")
    : value;
}

function valueIn(
  { name, defaultText }: PlaceholderReference,
  event: TemplateEvent,
  values: Values,
): string | undefined {
  if (!placeholdersByEvent[event].some((placeholder) => placeholder.name === name)) {
    throw new TemplateError(`the template ${event} offers no ${name}`);
  }
  return (Object.hasOwn(values, name) && values[name]) || defaultText;
}

function isList(part: Part): part is readonly Piece[] {
  return Array.isArray(part);
}

function isSecretAlone(parts: readonly Part[], placeholders: readonly Placeholder[]): boolean {
  const [only] = parts;
  if (parts.length !== 1 || only === undefined || typeof only === "string" || isList(only)) return false;
  if (only.forms) return false;
  return placeholders.some(({ name, secret }) => name === only.name && secret === true);
}

/** The problems of a template for an event, for the operator who edits it. Empty when it is valid. */
export function problemsOf(template: Template, event: TemplateEvent): FieldError[] {
  const problems = [
    ...fieldProblems("title", [template.title], event),
    ...fieldProblems("body", template.body.split(EMPTY_LINES), event),
  ];
  if (problems.length > 0) return problems;
  const unconditional = placeholdersByEvent[event].filter(({ optional }) => !optional);
  try {
    renderTemplate(
      template,
      event,
      Object.fromEntries(unconditional.map(({ name, example }) => [name, example])),
      "en",
    );
    return [];
  } catch {
    return [problem("body", "empty", "Title and body must not be empty without what may be missing.")];
  }
}

function fieldProblems(field: keyof Template, texts: readonly string[], event: TemplateEvent): FieldError[] {
  const placeholders = placeholdersByEvent[event];
  let parts: Part[];
  try {
    parts = texts.flatMap(parse);
  } catch (error) {
    return [problem(field, "syntax", (error as Error).message)];
  }
  const references = parts.flatMap((part) => (isList(part) ? part : [part])).filter(isReference);
  const unconditional = parts.flatMap((part) => (isList(part) ? [] : [part])).filter(isReference);
  const unknown = references.find(
    ({ name }) => !placeholders.some((placeholder) => placeholder.name === name),
  );
  if (unknown) {
    const known = placeholders.map(({ name }) => name);
    const sentence = `There is no {{${unknown.name}}} here; there are: ${known.join(", ")}.`;
    return [problem(field, "placeholder", sentence)];
  }
  const placeholderOf = ({ name }: PlaceholderReference) =>
    placeholders.find((placeholder) => placeholder.name === name);
  const secret =
    field === "title" ? references.find((reference) => placeholderOf(reference)?.secret) : undefined;
  if (secret)
    return [problem(field, "secret", `{{${secret.name}}} stands in the body only: titles are kept.`)];
  const withoutDefault = unconditional.find(
    (reference) => placeholderOf(reference)?.optional && reference.defaultText === undefined,
  );
  if (withoutDefault) {
    const { name } = withoutDefault;
    const sentence = `{{${name}}} may be missing: say what stands there then, {{${name}|…}}, or put it into [[ ]].`;
    return [problem(field, "mayBeMissing", sentence)];
  }
  const missing = placeholders.filter(
    ({ required, name }) =>
      required && !unconditional.some((reference) => reference.name === name && !reference.forms),
  );
  if (field === "title" || missing.length === 0) return [];
  return [
    problem(
      field,
      "lacking",
      `It has to hold {{${missing.map(({ name }) => name).join("}}, {{")}}}, not in [[ ]].`,
    ),
  ];
}

function problem(field: keyof Template, rule: string, message: string): FieldError {
  return { field, rule, message };
}

/** An example value for each placeholder of the event. */
export function exampleValues(event: TemplateEvent): Values {
  return Object.fromEntries(placeholdersByEvent[event].map(({ name, example }) => [name, example]));
}

/** The paragraphs as one text. */
export function textOf({ title, paragraphs }: RenderedTemplate): { title: string; body: string } {
  return { title, body: paragraphs.map(({ text }) => text).join("\n\n") };
}
