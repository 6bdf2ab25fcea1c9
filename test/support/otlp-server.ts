import { createServer } from "node:http";
import { SpanKind } from "@opentelemetry/api";

const FOLLOW_MS = 200;

export interface ExportedSpan {
  /** OTEL_SERVICE_NAME of the process that sent it. */
  process?: string;
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  name: string;
  kind: number;
  attributes?: Attribute[];
  status?: { code?: number; message?: string };
  events?: { name: string; attributes?: Attribute[] }[];
  links?: { traceId: string; spanId: string }[];
}

interface Attribute {
  key: string;
  value: { stringValue?: string; intValue?: number | string };
}

interface Exported {
  resourceSpans: {
    resource: { attributes: { key: string; value: { stringValue?: string } }[] };
    scopeSpans: { spans: ExportedSpan[] }[];
  }[];
}

/** A collector that takes spans by OTLP over HTTP, as JSON, and keeps them. */
export async function otlpServer() {
  const spans: ExportedSpan[] = [];
  const services = new Set<string | undefined>();
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      if (request.url === "/v1/traces") {
        const { resourceSpans } = JSON.parse(Buffer.concat(chunks).toString()) as Exported;
        for (const { resource, scopeSpans } of resourceSpans) {
          const name = resource.attributes.find(({ key }) => key === "service.name")?.value.stringValue;
          services.add(name);
          const sent = scopeSpans.flatMap((scope) => scope.spans);
          spans.push(...sent.map((span) => ({ ...span, ...(name && { process: name }) })));
        }
      }
      const from = /^\/spans\?from=(\d+)$/.exec(request.url ?? "")?.[1];
      if (from) return response.end(JSON.stringify(spans.slice(Number(from))));
      response.writeHead(200, { "Content-Type": "application/json" }).end("{}");
    });
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const { port } = server.address() as { port: number };
  return {
    url: `http://127.0.0.1:${port}`,
    spans,
    services,
    close: (): void => void server.close(),
  };
}

/** Follows such a collector that is in another process. */
export async function followedCollector(url: string): Promise<Awaited<ReturnType<typeof otlpServer>>> {
  const spans: ExportedSpan[] = [];
  const services = new Set<string | undefined>();
  const follow = async () => {
    const answer = await fetch(`${url}/spans?from=${spans.length}`);
    const news = (await answer.json()) as ExportedSpan[];
    spans.push(...news);
    for (const { process } of news) services.add(process);
  };
  await follow();
  let closed = false;
  let timer: NodeJS.Timeout | undefined;
  const again = () => {
    timer = setTimeout(() => follow().finally(() => closed || again()), FOLLOW_MS);
  };
  again();
  const close = () => {
    closed = true;
    clearTimeout(timer);
  };
  return { url, spans, services, close };
}

/** The one span of that kind and name. OTLP counts kinds from one, the API from zero. */
export function exported(spans: readonly ExportedSpan[], kind: SpanKind, name: string): ExportedSpan {
  const found = spans.filter((span) => span.kind === kind + 1 && span.name === name);
  if (found.length !== 1) throw new Error(`${found.length} spans are ${SpanKind[kind]} ${name}`);
  return found[0] as ExportedSpan;
}

/** `CLIENT partners/reserve` and the like: what a span is, in a line. */
export function exportedTitle({ kind, name }: ExportedSpan): string {
  return `${SpanKind[kind - 1]} ${name}`;
}

export function exportedAttributes(of: { attributes?: Attribute[] }): Record<string, string | undefined> {
  const entries = (of.attributes ?? []).map(({ key, value }) => [
    key,
    value.stringValue ?? (value.intValue === undefined ? undefined : String(value.intValue)),
  ]);
  return Object.fromEntries(entries);
}

/**
 * Goes down a trace from parent to child.
 * @param titles each the title of exactly one child of the span before; ` @orders` behind it names the consumer group
 * @returns the spans in that order
 * @throws Error that says where the way ends, and what is there instead
 */
export function descend(
  spans: readonly ExportedSpan[],
  parentSpanId: string | undefined,
  titles: readonly string[],
): ExportedSpan[] {
  let parent = parentSpanId;
  return titles.map((wanted) => {
    const [title, group] = wanted.split(" @");
    const children = spans.filter((span) => span.parentSpanId === parent);
    const found = children.filter(
      (span) =>
        exportedTitle(span) === title &&
        (!group || exportedAttributes(span)["messaging.consumer.group.name"] === group),
    );
    const [only] = found;
    if (found.length !== 1 || !only) {
      throw new Error(
        `${found.length} children of ${parent} are ${wanted}: ${children.map(exportedTitle).join(", ")}`,
      );
    }
    parent = only.spanId;
    return only;
  });
}
