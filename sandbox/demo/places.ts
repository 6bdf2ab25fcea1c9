import { readFileSync } from "node:fs";
import { join } from "node:path";

export interface DemoPlaces {
  apiUrl: string;
  sandboxUrl: string;
}

/** Where the platform said it is when it started; else where PORT and SANDBOX_PORT say. */
export function findPlatform(env: Record<string, string | undefined>): DemoPlaces {
  const said = read(join(env.DATA_DIR || "./data", "platform.json"));
  return {
    apiUrl: said.apiUrl ?? env.PUBLIC_URL ?? `http://127.0.0.1:${env.PORT || 3000}`,
    sandboxUrl: said.sandboxUrl ?? `http://127.0.0.1:${env.SANDBOX_PORT || 3002}`,
  };
}

function read(file: string): Partial<DemoPlaces> {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as Partial<DemoPlaces>;
  } catch {
    return {};
  }
}
