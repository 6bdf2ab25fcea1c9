import type { IncomingMessage } from "node:http";
import { type PageRoute, page, pageRoute } from "moleculer-open-api";
import { acceptedLanguage } from "../../../lib/language.ts";
import { pageLanguages } from "./page-texts.ts";

/** A page in the language that the reader's browser prefers, with one script of its own. */
export function readerPage(
  { name, path }: { name: string; path: string },
  htmlOf: (language: string) => string,
  script: string,
): PageRoute {
  const byLanguage = new Map(pageLanguages.map((language) => [language, htmlOf(language)]));
  return pageRoute(name, path, {
    "GET /": (req: IncomingMessage, res) => {
      const language = acceptedLanguage(req.headers["accept-language"], pageLanguages) ?? "en";
      res.setHeader("Vary", "Accept-Language");
      page(res, "text/html; charset=utf-8", byLanguage.get(language) ?? "");
    },
    "GET /page.js": (_req, res) => page(res, "text/javascript; charset=utf-8", script),
  });
}

/** The frame of these pages. All texts are ours, so nothing is escaped. */
export function readerHtml(
  { language, title, path }: { language: string; title: string; path: string },
  body: string,
): string {
  return `<!doctype html>
<html lang="${language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>${title}</title>
<style>
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 26rem; margin: 2rem auto; padding: 0 1rem; }
input, button { font: inherit; padding: .5rem; width: 100%; box-sizing: border-box; }
</style>
</head>
<body>
<h1>${title}</h1>
${body}
<script src="${path}/page.js"></script>
</body>
</html>
`;
}
