const WIDTH = 80;
const INDENT = "     ";

const codes = { bold: 1, dim: 2, green: 32, red: 31, cyan: 36, yellow: 33 } as const;

/** Prints the steps of a demo; in colour on a terminal that supports it, otherwise as plain text. */
export function terminal(out: NodeJS.WriteStream = process.stdout) {
  const coloured = out.isTTY === true && !process.env.NO_COLOR && process.env.TERM !== "dumb";
  const paint = (style: keyof typeof codes, text: string) =>
    coloured ? `\u001b[${codes[style]}m${text}\u001b[0m` : text;
  const line = (text = "") => out.write(`${text}\n`);
  const indented = (text: string) => {
    for (const part of wrapped(text)) line(`${INDENT}${part}`);
  };
  const startedMs = performance.now();

  return {
    title(text: string): void {
      line(paint("bold", text));
    },
    step(number: number, name: string, what: string): void {
      const seconds = `${((performance.now() - startedMs) / 1000).toFixed(1)} s`;
      const head = ` ${number}.  ${name}`;
      line();
      line(`${paint("bold", head)}${paint("dim", seconds.padStart(WIDTH - head.length))}`);
      indented(what);
    },
    /** Prints a request. Shows only the last characters of ids. */
    request(method: string, path: string): void {
      line(`${INDENT}${paint("cyan", `-> ${method} ${shortIds(path)}`)}`);
    },
    answer(status: number, tookMs: number, what: string): void {
      const head = `<- ${status} in ${Math.round(tookMs)} ms`;
      const parts = wrapped(`${head}${what ? `  ${what}` : ""}`);
      for (const [i, part] of parts.entries()) {
        const text = i === 0 ? part.replace(head, paint(status < 400 ? "green" : "red", head)) : `   ${part}`;
        line(`${INDENT}${text}`);
      }
    },
    note(text: string): void {
      indented(text);
    },
    event(text: string): void {
      const [first = "", ...rest] = wrapped(text);
      line(`${INDENT}${paint("yellow", "**")} ${first}`);
      for (const part of rest) line(`${INDENT}   ${part}`);
    },
    row(...cells: string[]): void {
      line(`${INDENT}${cells.join("  ")}`.trimEnd());
    },
    done(text: string): void {
      line();
      line(paint("green", text));
    },
    failed(text: string): void {
      line();
      line(`${paint("red", "The demo stops here:")} ${text}`);
    },
  };
}

function shortIds(path: string): string {
  return path
    .replace(/[0-9a-f]{8}-[0-9a-f-]{21}([0-9a-f]{6})/g, "…$1")
    .replace(/[\w.-]{40,}/g, (long) => `…${long.slice(-6)}`);
}

export type Terminal = ReturnType<typeof terminal>;

function wrapped(text: string): string[] {
  const max = WIDTH - INDENT.length - 3;
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line && line.length + word.length + 1 > max) {
      lines.push(line);
      line = word;
    } else line = line ? `${line} ${word}` : word;
  }
  return [...lines, line];
}
