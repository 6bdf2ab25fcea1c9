import { connect } from "node:net";
import type { TestGateway } from "./gateway.ts";

export interface Problem {
  code: string;
  status: number;
  type: string;
  instance: string;
  detail?: string;
  trace_id?: string;
  errors?: { field: string; rule: string }[];
}

/** Requests to a gateway as a signed-in user, and bytes that no HTTP client would send. */
export function requestsTo(gateway: TestGateway, authorization: string) {
  async function request(
    method: string,
    path: string,
    init: { headers?: Record<string, string>; body?: string | Buffer } = {},
  ) {
    const response = await fetch(`${gateway.url}${path}`, {
      method,
      headers: { Authorization: authorization, "Content-Type": "application/json", ...init.headers },
      ...(init.body !== undefined && { body: init.body }),
    });
    const text = await response.text();
    const body = (
      text && response.headers.get("content-type")?.includes("json") ? JSON.parse(text) : {}
    ) as Problem;
    return { status: response.status, headers: response.headers, body, text };
  }

  /** The server's answer to exactly these bytes. */
  function raw(bytes: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const socket = connect(gateway.port, "127.0.0.1", () => socket.write(bytes, "latin1"));
      let text = "";
      socket.setEncoding("utf8");
      socket.on("data", (chunk) => {
        text += chunk;
      });
      socket.on("close", () => resolve(text));
      socket.on("error", reject);
    });
  }

  /** The head of the answer to exactly these bytes: all there is to wait for in a stream that does not end. */
  function rawHead(bytes: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const socket = connect(gateway.port, "127.0.0.1", () => socket.write(bytes, "latin1"));
      let text = "";
      socket.setEncoding("utf8");
      socket.on("data", (chunk) => {
        text += chunk;
        if (text.includes("\r\n\r\n")) socket.destroy();
      });
      socket.on("close", () => resolve(text.split("\r\n\r\n", 1)[0] as string));
      socket.on("error", reject);
    });
  }

  function rawGet(target: string, headers = ""): Promise<string> {
    return raw(`GET ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${headers}\r\n`);
  }

  return { request, raw, rawGet, rawHead };
}
