/**
 * `node test/contract/release.ts` writes down what this release promises to programs that exist already. It is run
 * when a release is made, never to have a test pass: released.spec.ts holds every later state against these files.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { documentation } from "../../services/api/docs/documentation.ts";
import { endpointOf } from "../../services/api/pipeline/endpoint.ts";
import { routes } from "../../services/api/routes/index.ts";
import { type ApiDocument, type ReleasedApi, releasedApi } from "./released-api.ts";
import { type ReleasedProto, releasedProto } from "./released-proto.ts";

const ROOT = resolve(import.meta.dirname, "../..");
export const RELEASED_API = resolve(ROOT, "docs/released/openapi.json");
export const RELEASED_PROTO = resolve(ROOT, "proto/released/descriptors.json");

export function apiNow(): ReleasedApi {
  const { document } = documentation(routes.map(endpointOf), "https://delivery.example.org");
  return releasedApi(document as unknown as ApiDocument);
}

export function protoNow(): ReleasedProto {
  return releasedProto(resolve(ROOT, "proto"));
}

if (import.meta.main) {
  for (const [file, content] of [
    [RELEASED_API, apiNow()],
    [RELEASED_PROTO, protoNow()],
  ] as const) {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, `${JSON.stringify(content, null, 2)}\n`);
  }
}
