import { readdirSync, readFileSync } from "node:fs";

const TICKS_PER_SECOND = 100;

/** CPU time, user and system, that a process has used so far, in microseconds (Linux, /proc). */
export function cpuMicros(pid: number): number {
  const fields = statOf(pid);
  return ((Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND) * 1e6;
}

/** What the processes that this one has started have used, as far as they still run: PostgreSQL's are one a connection. */
export function childrenMicros(pid: number): number {
  let micros = 0;
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      if (Number(statOf(Number(name))[1]) === pid) micros += cpuMicros(Number(name));
    } catch {
      // It has ended since the list was read.
    }
  }
  return micros;
}

/** Resident memory of a process in megabytes. */
export function residentMegabytes(pid: number): number {
  const match = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return Number(match?.[1]) / 1024;
}

// The name in parentheses may hold spaces, so the fields are counted from behind it: [0] is the state.
function statOf(pid: number): string[] {
  const text = readFileSync(`/proc/${pid}/stat`, "utf8");
  return text.slice(text.lastIndexOf(")") + 2).split(" ");
}
