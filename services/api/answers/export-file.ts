import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Result } from "../../../contracts/actions.ts";
import { exportPage } from "../../../contracts/exports.ts";
import { requestContextOf } from "../edge/request-head.ts";
import { encoder } from "../pipeline/codec.ts";
import type { ExportGate } from "./export-gate.ts";

export interface ExportFiles {
  /**
   * Streams the pages of an export as one JSON object. The next page is read when the client has taken the former one, and
   * none after the client has gone. The first page is read before the status is sent, so that its errors are problems.
   * @throws TOO_MANY_REQUESTS while the user has another export, OVERLOADED
   */
  send(
    userId: string,
    readPage: (number: number) => Promise<Result<"identity.exportPage">>,
    req: IncomingMessage,
    res: ServerResponse,
    headers: Record<string, string>,
  ): Promise<void>;
}

/** @param gate limits the exports of the gateway */
export function exportFiles(gate: ExportGate): ExportFiles {
  return {
    send: (userId, readPage, req, res, headers) =>
      gate.run(userId, res, async () => {
        const first = await readPage(1);
        if (res.destroyed) return;
        res.writeHead(200, {
          ...headers,
          "Content-Type": "application/json; charset=utf-8",
          "Content-Disposition": 'attachment; filename="export.json"',
          "Cache-Control": "no-store",
        });
        if (requestContextOf(req).isHead) res.end();
        else await writePages(first, readPage, res);
      }),
  };
}

async function writePages(
  first: Result<"identity.exportPage">,
  readPage: (number: number) => Promise<Result<"identity.exportPage">>,
  res: ServerResponse,
): Promise<void> {
  const gone = once(res, "close").catch(() => undefined);
  const text = jsonOfPages();
  let number = 1;
  for (let read = first; ; read = await readPage(++number)) {
    const isTaken = res.write(text.next(read.page));
    if (!isTaken) await Promise.race([once(res, "drain"), gone]);
    if (read.isLast || res.destroyed) break;
  }
  res.end(text.end());
}

const encodePage = encoder(exportPage);

/** Writes pages as one JSON object: a list of a page continues the list of the same name of the page before. */
export function jsonOfPages(): { next(page: Result<"identity.exportPage">["page"]): string; end(): string } {
  let open: string | undefined;
  let isFirst = true;
  const close = () => {
    const text = open === undefined ? "" : "]";
    open = undefined;
    return text;
  };
  const begin = (name: string) => {
    const text = `${close()}${isFirst ? "{" : ","}${JSON.stringify(name)}:`;
    isFirst = false;
    return text;
  };
  return {
    next(page) {
      const fields = Object.entries(encodePage(page) as Record<string, unknown>);
      return fields
        .map(([name, value]) => {
          if (!Array.isArray(value)) return begin(name) + JSON.stringify(value);
          const items = value.map((item) => JSON.stringify(item)).join(",");
          if (open === name) return items && `,${items}`;
          const head = `${begin(name)}[`;
          open = name;
          return head + items;
        })
        .join("");
    },
    end: () => `${close()}${isFirst ? "{" : ""}}`,
  };
}
