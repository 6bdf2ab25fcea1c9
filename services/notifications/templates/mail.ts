import type { DirectText, Language } from "./catalogue.ts";

export interface MailText {
  subject: string;
  text: string;
  html: string;
  language: string;
}

/** A mail as plain text and as markup that says the same. Every inserted word is escaped. */
export function mailOf(
  { title, paragraphs, code, closing = [] }: DirectText,
  { greeting, footer }: { greeting: Language["mail"]["greeting"]; footer: string },
  firstName: string | undefined,
  language: string,
): MailText {
  const before = [greeting(firstName), ...paragraphs].filter(Boolean);
  const after = closing.filter(Boolean);
  const text = [...before, ...(code ? [`    ${code}`] : []), ...after, `-- \n${footer}`].join("\n\n");
  const parts = [
    ...before.map(paragraph),
    code
      ? `<p style="font-size:28px;letter-spacing:2px;font-weight:bold;overflow-wrap:anywhere">${escaped(code)}</p>`
      : "",
    ...after.map(paragraph),
    `<p style="color:#666;font-size:13px">${escaped(footer)}</p>`,
  ];
  const html = `<!doctype html><html lang="${language}"><head><meta charset="utf-8"><title>${escaped(
    title,
  )}</title></head><body style="font-family:sans-serif;font-size:16px;line-height:1.5;color:#1b1b1b;max-width:36em">${parts
    .filter(Boolean)
    .join("\n")}</body></html>`;
  return { subject: title, text, html, language };
}

function paragraph(text: string): string {
  return `<p>${escaped(text)}</p>`;
}

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ENTITIES[character] ?? character);
}
