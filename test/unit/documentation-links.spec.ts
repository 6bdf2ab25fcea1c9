import { existsSync, globSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { describe, expect, it } from "@jest/globals";

const root = resolve(import.meta.dirname, "../..");
const pages = globSync(
  ["*.md", "{docs,bench,deploy,packages,test}/**/*.md", ".github/**/*.md", "docs/**/*.md"],
  {
    cwd: root,
    exclude: (name) => name === "node_modules",
  },
);
const textOf = (page: string) => readFileSync(join(root, page), "utf8");
/** Text outside of code, where `[a](b)` is a link. */
const prose = (text: string) => text.replace(/^```[\s\S]*?^```/gm, "").replace(/`[^`\n]*`/g, "");

/** The anchors of a page: its headings as GitHub spells them, and the ids that it sets itself. */
function anchorsOf(text: string): Set<string> {
  const headings = [...text.replace(/^```[\s\S]*?^```/gm, "").matchAll(/^#{1,6} (.+)$/gm)].map(([, title]) =>
    (title as string)
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, "")
      .replaceAll(" ", "-"),
  );
  return new Set([...headings, ...[...text.matchAll(/id="([^"]+)"/g)].map(([, id]) => id as string)]);
}

/** The relative links of a page that lead nowhere. */
function deadLinks(page: string): string[] {
  const links = [...prose(textOf(page)).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target as string);
  return links
    .filter((target) => !/^[a-z]+:/.test(target))
    .filter((target) => {
      const [path = "", anchor] = target.split("#");
      const file = path === "" ? page : relative(root, join(root, dirname(page), path));
      if (!existsSync(join(root, file))) return true;
      return anchor !== undefined && file.endsWith(".md") && !anchorsOf(textOf(file)).has(anchor);
    })
    .map((target) => `${page}: ${target}`);
}

describe("relative links of the documentation", () => {
  it("lead to an existing file and heading", () => {
    expect(pages.length).toBeGreaterThan(60);
    expect(pages.flatMap(deadLinks)).toEqual([]);
  });

  it("are reported as broken if the file or the heading is missing", () => {
    expect(anchorsOf("## As a cluster\n").has("as-a-cluster")).toBe(true);
    expect(anchorsOf("```\n## no heading\n```\n").size).toBe(0);
  });
});

/** Paths of our own files between backticks, as `services/api/gateway.ts`; patterns and ellipses are not paths. */
const NAMED =
  /`((?:contracts|services|providers|lib|mixins|docs|test|deploy|platform|packages|migrations|proto|k8s|bench|sandbox)\/[\w./-]+)`/g;

describe("files that CONTRIBUTING.md and the pages of docs name", () => {
  it.each(pages.filter((page) => page === "CONTRIBUTING.md" || /^docs\/(?!adr|reliability)/.test(page)))(
    "%s names only files that exist",
    (page) => {
      const named = [...textOf(page).matchAll(NAMED)].map(([, path]) => path as string);
      expect(named.filter((path) => !existsSync(join(root, path)))).toEqual([]);
    },
  );
});

describe("docs/glossary.md", () => {
  const rows = [...textOf("docs/glossary.md").matchAll(/^\| (?!word |-)(.+) \| (.+) \| (.+) \|$/gm)];

  it("explains at most 60 words, each once and in one sentence, with the file to read on", () => {
    const words = rows.map(([, word]) => word);
    expect(words.length).toBeGreaterThan(50);
    expect(words.length).toBeLessThanOrEqual(60);
    expect(new Set(words).size).toBe(words.length);
    for (const [, , meaning, file] of rows) {
      expect(meaning).toMatch(/^[A-Z][^.]*\.$/);
      expect(file).toMatch(/^`[^`]+`$/);
    }
  });
});

describe("a decision in docs/adr", () => {
  /** Words of a page without its link targets and code blocks. */
  const wordsOf = (text: string) =>
    text
      .replace(/^```[\s\S]*?^```/gm, "")
      .replace(/\]\([^)]*\)/g, "]")
      .split(/\s+/)
      .filter((word) => /[\p{L}\p{N}]/u.test(word));

  it.each(pages.filter((page) => /^docs\/adr\/\d/.test(page)))("%s has at most 400 words", (page) => {
    const text = textOf(page);
    expect(wordsOf(text).length).toBeLessThanOrEqual(400);
    expect(text).toMatch(/^(?:\*\*|## )Context/m);
    expect(text).toMatch(/^(?:\*\*|## )Given up/m);
  });
});

/** Words that hide the subject of a sentence. Values of the API and titles of tests are in code or quotation marks. */
const VAGUE = /\b(?:told|nobody|somebody|anybody|whoever)\b/i;

describe("the language of the pages", () => {
  it("names the subject of each sentence", () => {
    const vague = pages
      .filter((page) => page !== "docs/states.md")
      .flatMap((page) =>
        textOf(page)
          .replace(/^```[\s\S]*?^```/gm, "")
          .replace(/`[^`]*`|"[^"]*"| › .*/g, "")
          .split("\n")
          .filter((line) => VAGUE.test(line))
          .map((line) => `${page}: ${line}`),
      );
    expect(vague).toEqual([]);
  });
});

/** `npm run name`, `npm test`, `npx node file.ts` and `npx program`, in code of the pages. */
const COMMAND = /\b(?:npm run (?:-s )?([a-z][a-z:]*)|npx node (\S+\.ts)|npx (?!node)([a-z][a-z-]*))/g;

describe("commands that the pages name", () => {
  it("are npm scripts, files and programs of this project", () => {
    const { scripts } = JSON.parse(textOf("package.json")) as { scripts: Record<string, string> };
    const named = pages
      .filter((page) => !page.startsWith("packages/"))
      .flatMap((page) =>
        [...textOf(page).matchAll(COMMAND)].map(([command, ...parts]) => ({ page, command, parts })),
      );
    const unknown = named.filter(({ parts: [script, file, program] }) => {
      if (script !== undefined) return !Object.hasOwn(scripts, script);
      if (file !== undefined) return file !== "file.ts" && !existsSync(join(root, file));
      return !existsSync(join(root, "node_modules/.bin", program as string));
    });
    expect(named.length).toBeGreaterThan(50);
    expect(unknown.map(({ page, command }) => `${page}: ${command}`)).toEqual([]);
  });
});
