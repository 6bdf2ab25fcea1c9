import { once } from "node:events";
import { createInterface } from "node:readline/promises";
import { Writable } from "node:stream";

/** Reads one line from the terminal, by default without echo. If standard input is no terminal, reads its next line. */
export async function askFor(question: string, { hidden = true } = {}): Promise<string> {
  if (!process.stdin.isTTY) return await nextLine(process.stdin);
  process.stderr.write(question);
  const unseen = new Writable({ write: (_chunk, _encoding, done) => done() });
  const output = hidden ? unseen : process.stderr;
  const input = createInterface({ input: process.stdin, output, terminal: true });
  const answer = await input.question("");
  input.close();
  process.stderr.write(hidden ? "\n" : "");
  return answer;
}

/** The last line may lack its line end (`printf %s`). The rest of the input stays for the next reader. */
async function nextLine(input: NodeJS.ReadStream): Promise<string> {
  let read = Buffer.alloc(0);
  while (!input.readableEnded) {
    const chunk: Buffer | null = input.read();
    if (!chunk) {
      await Promise.race([once(input, "readable"), once(input, "end")]);
      continue;
    }
    read = Buffer.concat([read, chunk]);
    const end = read.indexOf("\n");
    if (end < 0) continue;
    if (end + 1 < read.length) input.unshift(read.subarray(end + 1));
    read = read.subarray(0, end);
    break;
  }
  return read.toString("utf8").replace(/\r$/, "");
}
