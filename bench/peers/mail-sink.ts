/**
 * A mail server in a process of its own: accepts each mail and keeps the last six-digit code of each recipient. Prints the
 * address of its HTTP side: `GET /?to=<address>` answers the code, `GET /port` the port of SMTP, `GET /count` the mails.
 */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { SMTPServer } from "smtp-server";

const codes = new Map<string, string>();
let mails = 0;

const smtp = new SMTPServer({
  authOptional: true,
  disabledCommands: ["AUTH", "STARTTLS"],
  onData(stream, session, callback) {
    const chunks: Buffer[] = [];
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("end", () => {
      mails += 1;
      const code = /\b\d{6}\b/.exec(bodyOf(Buffer.concat(chunks).toString()))?.[0];
      for (const { address } of session.envelope.rcptTo) if (code) codes.set(address, code);
      callback();
    });
  },
});

/** The headers hold numbers of six digits as well. */
const bodyOf = (mail: string) => mail.slice(mail.indexOf("\r\n\r\n"));

const http = createServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url ?? "/", "http://localhost");
  if (pathname === "/port") return response.end(String((smtp.server.address() as AddressInfo).port));
  if (pathname === "/count") return response.end(String(mails));
  return response.end(codes.get(searchParams.get("to") ?? "") ?? "");
});

smtp.listen(0, "127.0.0.1", () =>
  http.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${(http.address() as AddressInfo).port}`)),
);
