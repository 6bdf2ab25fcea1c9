/**
 * `npm run docs` writes the pages that are made from the code; `npm run docs -- --check` fails when one of them
 * is not what the code says now.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { alertsPage } from "./generate/alerts.ts";
import { asyncApiPage } from "./generate/asyncapi.ts";
import { clientTypes } from "./generate/client.ts";
import { configurationPage, envExample } from "./generate/configuration.ts";
import { errorsPage } from "./generate/errors.ts";
import { figuresPage } from "./generate/figures.ts";
import { messagesPage } from "./generate/messages.ts";
import { noticesPage } from "./generate/notices.ts";
import { statesPage } from "./generate/states.ts";

const ROOT = resolve(import.meta.dirname, "..");

const pages: Record<string, string> = {
  "docs/errors.md": errorsPage(),
  "docs/messages.md": await messagesPage(ROOT),
  "asyncapi.yaml": asyncApiPage(),
  "docs/alerts.md": alertsPage(ROOT),
  "docs/figures.md": figuresPage(ROOT),
  "docs/states.md": statesPage(),
  "docs/configuration.md": configurationPage(),
  ".env.example": envExample(),
  "packages/client/src/api.ts": clientTypes(),
  "THIRD-PARTY-NOTICES": noticesPage(ROOT),
};

const stale = Object.entries(pages).filter(([path, text]) => {
  const file = join(ROOT, path);
  return !existsSync(file) || readFileSync(file, "utf8") !== text;
});

if (process.argv.includes("--check")) {
  for (const [path] of stale) console.error(`${path} is stale: run npm run docs and commit it`);
  if (stale.length > 0) process.exit(1);
  console.log(`${Object.keys(pages).length} generated pages are up to date`);
} else {
  for (const [path, text] of stale) writeFileSync(join(ROOT, path), text);
  console.log(stale.length > 0 ? `wrote ${stale.map(([path]) => path).join(", ")}` : "nothing to write");
}
