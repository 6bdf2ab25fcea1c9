import { createServer } from "node:http";
import { SpanKind } from "@opentelemetry/api";

export interface ExportedSpan {
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
          services.add(resource.attributes.find(({ key }) => key === "service.name")?.value.stringValue);
          spans.push(...scopeSpans.flatMap((scope) => scope.spans));
        }
      }
      response.writeHead(200, { "Content-Type": "application/json" }).end("{}");
    });
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const { port } = server.address() as { port: number };
  return {
    url: `http://127.0.0.1:${port}`,
    spans,
    services,
    close: () => server.close(),
  };
}

/** The one span of that kind and name. OTLP counts kinds from one, the API from zero. */
export function exported(spans: readonly ExportedSpan[], kind: SpanKind, name: string): ExportedSpan {
  const found = spans.filter((span) => span.kind === kind + 1 && span.name === name);
  if (found.length !== 1) throw new Error(`${found.length} spans are ${SpanKind[kind]} ${name}`);
  return found[0] as ExportedSpan;
}
