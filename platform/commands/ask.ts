import { createInterface } from "node:readline/promises";
import { Writable } from "node:stream";

/** One line from the terminal, without an echo unless it may be seen, or from whatever standard input is. */
export async function askFor(question: string, { hidden = true } = {}): Promise<string> {
  process.stderr.write(process.stdin.isTTY ? question : "");
  const unseen = new Writable({ write: (_chunk, _encoding, done) => done() });
  const input = createInterface({
    input: process.stdin,
    output: hidden ? unseen : process.stderr,
    terminal: process.stdin.isTTY,
  });
  const answer = await input.question("");
  input.close();
  process.stderr.write(hidden && process.stdin.isTTY ? "\n" : "");
  return answer;
}
