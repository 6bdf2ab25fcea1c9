import type { Language } from "./catalogue.ts";
import type { Paragraph, RenderedTemplate } from "./render-template.ts";

export interface MailText {
  subject: string;
  text: string;
  html: string;
  language: string;
}

/** The greeting and footer around a text. Only built-in languages have them. */
export interface MailFrame {
  greeting: Language["mail"]["greeting"];
  footer: string;
}

/** Renders a mail as plain text and as HTML with the same content. All content is escaped. */
export function renderMail(
  { title, paragraphs }: RenderedTemplate,
  frame: MailFrame | undefined,
  firstName: string | undefined,
  language: string,
): MailText {
  const greeting = frame ? [{ text: frame.greeting(firstName), prominent: false }] : [];
  const all = [...greeting, ...paragraphs];
  const lines = all.map(({ text, prominent }) => (prominent ? `    ${text}` : text));
  const text = [...lines, ...(frame ? [`-- \n${frame.footer}`] : [])].join("\n\n");
  const parts = [
    ...all.map(htmlOf),
    ...(frame ? [`<p style="color:#666;font-size:13px">${escapeHtml(frame.footer)}</p>`] : []),
  ];
  const html = `<!doctype html><html lang="${language}"><head><meta charset="utf-8"><title>${escapeHtml(
    title,
  )}</title></head><body style="font-family:sans-serif;font-size:16px;line-height:1.5;color:#1b1b1b;max-width:36em">${parts.join(
    "\n",
  )}</body></html>`;
  return { subject: title, text, html, language };
}

function htmlOf({ text, prominent }: Paragraph): string {
  const inside = escapeHtml(text).replaceAll("\n", "<br>");
  if (!prominent) return `<p>${inside}</p>`;
  return `<p style="font-size:28px;letter-spacing:2px;font-weight:bold;overflow-wrap:anywhere">${inside}</p>`;
}

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ENTITIES[character] ?? character);
}
