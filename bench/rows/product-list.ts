import { writeFileSync } from "node:fs";
import { Agent } from "node:http";
import { join } from "node:path";
import { against } from "../lib/against.ts";
import { startBaselineServer } from "../lib/baseline.ts";
import { type Answer, send } from "../lib/load.ts";
import type { Row } from "../lib/report.ts";
import { onStage, type Stage } from "../lib/stage.ts";

const SIZES = { partners: 1, products: 200, customers: 1 };

/**
 * The front page of `GET /products`, 20 offers, with a token. Baselines: node:http that sends the same bytes from memory;
 * for a client with the current ETag, node:http that always answers 304; and the CPU time of a hello.
 */
export const productList = (): Promise<Row[]> => onStage(SIZES, measure);

async function measure({ platform, world }: Stage): Promise<Row[]> {
  const url = `${platform.apiUrl}/products`;
  const headers = { authorization: `Bearer ${world.customerTokens[0]}` };
  const page = await answerOf(url, headers);
  const file = join(platform.dataDir, "bench-page.json");
  writeFileSync(file, page.body);
  const server = await startBaselineServer(file);
  const baseline = { pid: server.pid, url: `${server.url}/page` };
  const whole = { headers, status: 200 };
  const known = { headers: { ...headers, "if-none-match": String(page.headers.etag) }, status: 304 };
  try {
    const ours = { pid: platform.pid, url };
    const size = `${(page.body.length / 1024).toFixed(1)} KB`;
    const hello = { ...baseline, url: `${server.url}/hello`, ...whole };
    const [, , cost] = await against("", { ...ours, ...whole }, hello);
    return [
      ...(await against(`GET /products (${size})`, { ...ours, ...whole }, { ...baseline, ...whole })),
      { ...(cost as Row), what: "the same beside a hello, CPU us a request" },
      ...(await against("GET /products, 304", { ...ours, ...known }, { ...baseline, ...known })),
    ];
  } finally {
    server.stop();
  }
}

async function answerOf(url: string, headers: Record<string, string>): Promise<Answer> {
  const answer = await send(new Agent(), url, { headers });
  if (answer.status !== 200) throw new Error(`${url}: ${answer.status} ${answer.body}`);
  return answer;
}
