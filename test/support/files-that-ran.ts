import { Session } from "node:inspector/promises";
import { root, text } from "./manifests.ts";

/** The files of a folder with a function that ran meanwhile, sorted. */
export async function filesThatRan(folder: string, work: () => Promise<unknown>): Promise<string[]> {
  const session = new Session();
  session.connect();
  try {
    await session.post("Profiler.enable");
    await session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: false });
    // The first answer has the functions of the start as well.
    await session.post("Profiler.takePreciseCoverage");
    await work();
    const { result } = await session.post("Profiler.takePreciseCoverage");
    const ran = result.filter(({ functions }) => functions.some(({ ranges }) => (ranges[0]?.count ?? 0) > 0));
    const files = ran.map(({ url }) => url.slice(url.indexOf(root) + root.length + 1));
    return [...new Set(files.filter((file) => file.startsWith(folder)))].toSorted();
  } finally {
    session.disconnect();
  }
}

/** The files of a folder that docs/architecture.md names for a confirmation, sorted. */
export function filesOfConfirm(folder: string): string[] {
  const page = text("docs/architecture.md");
  const way = page.slice(
    page.indexOf("### A customer confirms an order"),
    page.indexOf("### A payment system reports a payment"),
  );
  const files = [...way.matchAll(/`([\w/.-]+\/[\w.-]+\.ts)`/g)].map(([, file]) => file as string);
  return [...new Set(files.filter((file) => file.startsWith(folder)))].toSorted();
}
