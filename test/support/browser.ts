import { execFile } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { type Browser, chromium, type LaunchOptions } from "playwright-core";
import { exclusively, runFolder } from "./test-run.ts";

/** The package holds a browser for this system only. */
const HAS_PACKAGED_BROWSER = process.platform === "linux" && process.arch === "x64";
/** Where distributions for other processors install it. */
const SYSTEM_CHROMIUM = "/usr/bin/chromium";
/** The package unpacks into TMPDIR; its own libraries (NSS) only where it takes the machine for AWS Lambda. */
const UNPACK = "import(process.argv[1]).then(({ default: { executablePath } }) => executablePath())";
const AS_LAMBDA = "AWS_Lambda_nodejs24.x";

const SWITCHES = [
  "--no-sandbox",
  "--disable-gpu",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/**
 * A real Chromium: the one that CHROMIUM names, else the one of the development dependency, which needs nothing of
 * the machine; on systems that the dependency has no browser for, an installed Chrome or Chromium.
 */
export async function launchBrowser(): Promise<Browser> {
  return await chromium.launch({ args: SWITCHES, ...(await chosenBrowser()) });
}

async function chosenBrowser(): Promise<LaunchOptions> {
  const { CHROMIUM } = process.env;
  if (CHROMIUM) return { executablePath: CHROMIUM };
  if (HAS_PACKAGED_BROWSER) return await packagedBrowser();
  return existsSync(SYSTEM_CHROMIUM) ? { executablePath: SYSTEM_CHROMIUM } : { channel: "chrome" };
}

/** Unpacked once for all files of a run; its 210 MB go with the run's folder. */
async function packagedBrowser(): Promise<LaunchOptions> {
  const folder = join(runFolder(), "browser");
  const fontSettings = join(folder, "fonts.conf");
  await exclusively("browser", async () => {
    if (existsSync(fontSettings)) return;
    mkdirSync(folder, { recursive: true });
    const words = ["--input-type=module", "--eval", UNPACK, import.meta.resolve("@sparticuz/chromium")];
    const env = { ...process.env, TMPDIR: folder, AWS_EXECUTION_ENV: AS_LAMBDA };
    await promisify(execFile)(process.execPath, words, { env });
    // The package's own fonts.conf expects the fonts in /tmp. A Chromium without any font ends at the first text.
    writeFileSync(fontSettings, fontsIn(folder));
  });
  const env = {
    ...(process.env as Record<string, string>),
    LD_LIBRARY_PATH: join(folder, "al2023", "lib"),
    FONTCONFIG_FILE: fontSettings,
  };
  return { executablePath: join(folder, "chromium"), env };
}

const fontsIn = (folder: string) => `<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir>${join(folder, "fonts")}</dir>
  <cachedir>${join(folder, "fonts-cache")}</cachedir>
</fontconfig>
`;
