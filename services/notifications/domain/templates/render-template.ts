import type { FieldError } from "../../../../contracts/errors.ts";
import type { Template, TemplateEvent } from "./catalogue.ts";
import { offers, type Placeholder } from "./placeholders.ts";

/** What a text cannot be written with: by its own fault, or for want of a value. */
export class TemplateError extends Error {}

/** By the names of placeholders; empty is as good as missing. */
export type Values = Readonly<Record<string, string | undefined>>;

export interface Paragraph {
  text: string;
  /** A code by itself, which is easy to read off. */
  standsOut: boolean;
}

export interface Filled {
  title: string;
  paragraphs: readonly Paragraph[];
}

interface Hole {
  name: string;
  /** What stands there without a value. */
  otherwise?: string;
}
type Piece = string | Hole;
/** A list is a part that goes when one of its holes has neither value nor default. */
type Part = Piece | readonly Piece[];

/** Cuts at every mark; a hole is one piece. */
const MARKS = /(\{\{[^{}]*\}\}|\[\[|\]\])/;
const HOLE = /^\{\{\s*([a-z][a-z_]*)\s*(?:\|([^{}]*))?\}\}$/;
const LONE_BRACES = /\{\{|\}\}/;
const EMPTY_LINES = /\n{2,}/;

/** @throws TemplateError for marks that do not fit together */
function parse(text: string): Part[] {
  const parts: Part[] = [];
  let inner: Piece[] | undefined;
  for (const mark of text.split(MARKS)) {
    if (mark === "") continue;
    if (mark === "[[") {
      if (inner) throw new TemplateError("A part in [[ ]] holds no other one.");
      inner = [];
    } else if (mark === "]]") {
      if (!inner) throw new TemplateError("There is a ]] without its [[ in the same paragraph.");
      parts.push(inner);
      inner = undefined;
    } else (inner ?? parts).push(pieceOf(mark));
  }
  if (inner) throw new TemplateError("There is a [[ without its ]] in the same paragraph.");
  return parts;
}

function pieceOf(mark: string): Piece {
  if (!LONE_BRACES.test(mark)) return mark;
  const [, name, otherwise] = HOLE.exec(mark) ?? [];
  if (!name)
    throw new TemplateError("Braces come in pairs around a name in small letters, as {{first_name}}.");
  return otherwise === undefined ? { name } : { name, otherwise };
}

const isHole = (piece: Piece): piece is Hole => typeof piece !== "string";

/**
 * Writes the text with these values.
 * @throws TemplateError when the text names what the event does not offer, lacks a value, or comes out empty
 */
export function renderTemplate({ title, body }: Template, event: TemplateEvent, values: Values): Filled {
  const offered = offers[event];
  const write = (parts: readonly Part[]) =>
    parts
      .map((part) => partText(part, event, values))
      .join("")
      .trim();
  const subject = write(parse(title)).replace(/\s+/g, " ");
  const paragraphs = body
    .split(EMPTY_LINES)
    .map((paragraph): Paragraph => {
      const parts = parse(paragraph.trim());
      return { text: write(parts), standsOut: isSecretAlone(parts, offered) };
    })
    .filter(({ text }) => text !== "");
  if (subject === "" || paragraphs.length === 0) throw new TemplateError("Without values it is empty.");
  return { title: subject, paragraphs };
}

function partText(part: Part, event: TemplateEvent, values: Values): string {
  if (typeof part === "string") return part;
  if (isList(part)) {
    const missing = part.some((piece) => isHole(piece) && valueIn(piece, event, values) === undefined);
    return missing ? "" : part.map((piece) => partText(piece, event, values)).join("");
  }
  const value = valueIn(part, event, values);
  if (value === undefined) throw new TemplateError(`the template ${event} needs the value ${part.name}`);
  return value;
}

function valueIn({ name, otherwise }: Hole, event: TemplateEvent, values: Values): string | undefined {
  if (!offers[event].some((offer) => offer.name === name)) {
    throw new TemplateError(`the template ${event} offers no ${name}`);
  }
  return (Object.hasOwn(values, name) && values[name]) || otherwise;
}

function isList(part: Part): part is readonly Piece[] {
  return Array.isArray(part);
}

function isSecretAlone(parts: readonly Part[], offered: readonly Placeholder[]): boolean {
  const [only] = parts;
  if (parts.length !== 1 || only === undefined || typeof only === "string" || isList(only)) return false;
  return offered.some(({ name, secret }) => name === only.name && secret === true);
}

/** Everything that is wrong with a text for an event, in words for whoever wrote it. */
export function problemsOf(template: Template, event: TemplateEvent): FieldError[] {
  const problems = [
    ...fieldProblems("title", [template.title], event),
    ...fieldProblems("body", template.body.split(EMPTY_LINES), event),
  ];
  if (problems.length > 0) return problems;
  const bare = offers[event].filter(({ mayBeMissing }) => !mayBeMissing);
  try {
    renderTemplate(template, event, Object.fromEntries(bare.map(({ name, example }) => [name, example])));
    return [];
  } catch {
    return [problem("body", "empty", "Title and body must not be empty without what may be missing.")];
  }
}

function fieldProblems(field: keyof Template, texts: readonly string[], event: TemplateEvent): FieldError[] {
  const offered = offers[event];
  let parts: Part[];
  try {
    parts = texts.flatMap(parse);
  } catch (error) {
    return [problem(field, "syntax", (error as Error).message)];
  }
  const named = parts.flatMap((part) => (isList(part) ? part : [part])).filter(isHole);
  const bare = parts.flatMap((part) => (isList(part) ? [] : [part])).filter(isHole);
  const unknown = named.find(({ name }) => !offered.some((offer) => offer.name === name));
  if (unknown) {
    const known = offered.map(({ name }) => name);
    const sentence = `There is no {{${unknown.name}}} here; there are: ${known.join(", ")}.`;
    return [problem(field, "placeholder", sentence)];
  }
  const offerOf = ({ name }: Hole) => offered.find((offer) => offer.name === name);
  const secret = field === "title" ? named.find((hole) => offerOf(hole)?.secret) : undefined;
  if (secret)
    return [problem(field, "secret", `{{${secret.name}}} stands in the body only: titles are kept.`)];
  const unsure = bare.find((hole) => offerOf(hole)?.mayBeMissing && hole.otherwise === undefined);
  if (unsure) {
    const { name } = unsure;
    const sentence = `{{${name}}} may be missing: say what stands there then, {{${name}|…}}, or put it into [[ ]].`;
    return [problem(field, "mayBeMissing", sentence)];
  }
  const lacking = offered.filter(
    ({ required, name }) => required && !bare.some((hole) => hole.name === name),
  );
  if (field === "title" || lacking.length === 0) return [];
  return [
    problem(
      field,
      "lacking",
      `It has to hold {{${lacking.map(({ name }) => name).join("}}, {{")}}}, not in [[ ]].`,
    ),
  ];
}

function problem(field: keyof Template, rule: string, message: string): FieldError {
  return { field, rule, message };
}

/** How a text reads, with the example of everything that its event offers. */
export function exampleValues(event: TemplateEvent): Values {
  return Object.fromEntries(offers[event].map(({ name, example }) => [name, example]));
}

/** The paragraphs as one text. */
export function textOf({ title, paragraphs }: Filled): { title: string; body: string } {
  return { title, body: paragraphs.map(({ text }) => text).join("\n\n") };
}
