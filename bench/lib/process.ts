import { readdirSync, readFileSync } from "node:fs";

const TICKS_PER_SECOND = 100;

/** CPU time, user and system, that a process has used so far, in microseconds (Linux, /proc). */
export function cpuMicros(pid: number): number {
  const fields = statOf(pid);
  return micros(fields[11], fields[12]);
}

/**
 * CPU time of a process and of all that it has started, those that have ended as well, in microseconds. PostgreSQL starts
 * one process for each connection.
 */
export function familyMicros(pid: number): number {
  const own = statOf(pid);
  let sum = micros(own[11], own[12]) + micros(own[13], own[14]); // the latter two: children that have ended
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      if (Number(statOf(Number(name))[1]) === pid) sum += cpuMicros(Number(name));
    } catch {
      // It has ended since the list was read.
    }
  }
  return sum;
}

/** Resident memory of a process in megabytes. */
export function residentMegabytes(pid: number): number {
  const match = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return Number(match?.[1]) / 1024;
}

const micros = (...ticks: (string | undefined)[]) =>
  (ticks.reduce((sum, some) => sum + Number(some), 0) / TICKS_PER_SECOND) * 1e6;

// The name in parentheses may hold spaces, so the fields are counted from behind it: [0] is the state.
function statOf(pid: number): string[] {
  const text = readFileSync(`/proc/${pid}/stat`, "utf8");
  return text.slice(text.lastIndexOf(")") + 2).split(" ");
}
