import { shorten } from "../../../../lib/text.ts";
import type { Paragraph, RenderedTemplate } from "./render-template.ts";

const WIDTH_PX = 600;
const PREVIEW_MAX = 120;
const RTL_SCRIPTS: ReadonlySet<string> = new Set(["Adlm", "Arab", "Hebr", "Nkoo", "Syrc", "Thaa"]);
const FONT = "font-family:-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif";
const TABLE = 'role="presentation" width="100%" cellpadding="0" cellspacing="0" border="0"';

/** The name, colour and logo of this platform. */
export interface Brand {
  name: string;
  /** `#rrggbb` */
  color: string;
  logoUrl?: string | undefined;
}

/** A button, or a link in the footer. */
export interface LabelledLink {
  label: string;
  url: string;
}

/** The content of a mail around its text. */
export interface MailParts {
  /** Greeting and footer exist in built-in languages only. */
  greeting?: string | undefined;
  footer?: string | undefined;
  footerLink?: LabelledLink | undefined;
  pin?: { label: string; value: string } | undefined;
  order?: OrderTable | undefined;
  button?: LabelledLink | undefined;
}

/** An order as the rows of a table. */
export interface OrderTable {
  title: string;
  rows: readonly { name: string; amount?: string }[];
  total: { name: string; amount: string };
}

/** Mail programs that know no style sheet show the colours of the `style` attributes, which are the light ones. */
const STYLE = `:root{color-scheme:light dark;supported-color-schemes:light dark}
a{color:inherit}
@media (prefers-color-scheme:dark){
.page{background:#121212!important}.card{background:#1f1f1f!important}.text{color:#f2f2f2!important}
.quiet{color:#b4b4b4!important}.line{border-color:#3d3d3d!important}.box{background:#2c2c2c!important}}
@media (max-width:480px){.pad{padding-left:20px!important;padding-right:20px!important}}`;

/**
 * The HTML of a mail: tables with styles in attributes, because mail programs ignore most other layout. Every value is
 * escaped. It loads nothing but the logo.
 */
export function layout(
  { title, paragraphs }: RenderedTemplate,
  { greeting, footer, footerLink, pin, order, button }: MailParts,
  brand: Brand,
  language: string,
): string {
  const intro = greeting ? [{ text: greeting, prominent: false }] : [];
  const preview = paragraphs.find(({ prominent }) => !prominent)?.text ?? "";
  const isButtonUrl = ({ text }: Paragraph) => text === button?.url;
  const rows = [
    row(brandHtml(brand), "padding-top:24px"),
    row(
      `<h1 style="margin:0 0 16px;font-size:22px;line-height:1.3">${escapeHtml(title)}</h1>` +
        [...intro, ...paragraphs.filter((paragraph) => !isButtonUrl(paragraph))]
          .map(paragraphHtml)
          .join("\n"),
      "padding-top:20px",
    ),
    pin && row(paragraphHtml({ text: pin.label, prominent: false }) + prominentHtml(pin.value)),
    button && row(buttonHtml(button, brand), "padding-top:8px;padding-bottom:16px"),
    order && row(orderHtml(order), "padding-top:8px"),
    row(
      (footer ? `<p class="quiet" style="margin:0;${QUIET}">${escapeHtml(footer)}</p>` : "") +
        (footerLink
          ? `<p class="quiet" style="margin:8px 0 0;${QUIET}">${anchor(footerLink, QUIET, "quiet")}</p>`
          : ""),
      "padding-top:16px;padding-bottom:24px",
    ),
  ];
  return `<!doctype html>
<html lang="${escapeHtml(language)}" dir="${directionOf(language)}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="supported-color-schemes" content="light dark">
<title>${escapeHtml(title)}</title>
<style>${STYLE}</style>
</head>
<body class="page" style="margin:0;padding:0;background:#f3f3f3">
<div style="display:none;max-height:0;overflow:hidden">${escapeHtml(shorten(preview, PREVIEW_MAX))}</div>
<table ${TABLE} class="page" style="background:#f3f3f3"><tr><td align="center" style="padding:16px 8px">
<!--[if mso]><table role="presentation" width="${WIDTH_PX}"><tr><td><![endif]-->
<table ${TABLE} class="card" style="max-width:${WIDTH_PX}px;background:#ffffff;border-top:4px solid ${brand.color};table-layout:fixed">
${rows.filter(Boolean).join("\n")}
</table>
<!--[if mso]></td></tr></table><![endif]-->
</td></tr></table>
</body>
</html>`;
}

const TEXT = `${FONT};font-size:16px;line-height:1.5;color:#1b1b1b`;
const QUIET = `${FONT};font-size:13px;line-height:1.5;color:#5c5c5c`;

function row(html: string, padding = ""): string {
  return `<tr><td class="pad text" style="padding:0 32px;${padding};${TEXT};overflow-wrap:anywhere">${html}</td></tr>`;
}

function brandHtml({ name, logoUrl }: Brand): string {
  const escaped = escapeHtml(name);
  if (!logoUrl) return `<strong style="font-size:18px">${escaped}</strong>`;
  return `<img src="${escapeHtml(logoUrl)}" alt="${escaped}" height="40" style="display:block;height:40px;max-width:100%;border:0;font-size:18px;font-weight:bold">`;
}

function paragraphHtml({ text, prominent }: Paragraph): string {
  if (prominent) return prominentHtml(text);
  return `<p style="margin:0 0 16px">${escapeHtml(text).replaceAll("\n", "<br>")}</p>`;
}

/** A code: large, and in letters that are easy to tell apart. */
function prominentHtml(text: string): string {
  const size = text.length > 12 ? "font-size:16px" : "font-size:28px;letter-spacing:4px";
  return `<p class="box" style="margin:0 0 16px;padding:12px 16px;background:#f3f3f3;font-family:Menlo,Consolas,monospace;${size};font-weight:bold">${escapeHtml(text)}</p>`;
}

function buttonHtml(link: LabelledLink, { color }: Brand): string {
  const ink = `color:${inkOn(color)}`;
  return `<table role="presentation" cellpadding="0" cellspacing="0" border="0"><tr><td bgcolor="${color}" style="background:${color};border-radius:6px;padding:12px 24px">${anchor(link, `${TEXT};font-weight:bold;text-decoration:none;${ink}`)}</td></tr></table>`;
}

function anchor({ label, url }: LabelledLink, style: string, className = "button"): string {
  return `<a class="${className}" href="${escapeHtml(url)}" style="${style}">${escapeHtml(label)}</a>`;
}

function orderHtml({ title, rows, total }: OrderTable): string {
  const cell = "padding:6px 0;border-top:1px solid #dddddd;vertical-align:top";
  const line = (name: string, amount: string | undefined, weight: string) =>
    `<tr><td class="line" style="${cell};${weight}">${escapeHtml(name)}</td><td class="line" align="right" width="36%" style="${cell};${weight};white-space:nowrap">${escapeHtml(amount ?? "")}</td></tr>`;
  const lines = rows.map(({ name, amount }) => line(name, amount, "font-weight:normal"));
  return `<p style="margin:0 0 8px;font-weight:bold">${escapeHtml(title)}</p>
<table width="100%" cellpadding="0" cellspacing="0" border="0" class="text" style="${TEXT};table-layout:fixed">
${[...lines, line(total.name, total.amount, "font-weight:bold")].join("\n")}
</table>`;
}

/** Black or white, the one with more contrast to the colour (relative luminance of WCAG 2). */
function inkOn(color: string): string {
  const [red = 0, green = 0, blue = 0] = [1, 3, 5].map((at) => {
    const share = Number.parseInt(color.slice(at, at + 2), 16) / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? "#000000" : "#ffffff";
}

function directionOf(language: string): "ltr" | "rtl" {
  return RTL_SCRIPTS.has(new Intl.Locale(language).maximize().script ?? "") ? "rtl" : "ltr";
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
