import { readdirSync } from "node:fs";
import { join } from "node:path";
import { root, text } from "./manifests.ts";

/** A call of an action, or a route to one; the groups hold the action, where it is written out. */
const CALLS =
  /(?<![.\w])call\(\s*ctx,\s*(?:"(?<called>[^"]+)")?|ctx\.call\(|(?<![.\w])route\(\s*"[^"]+",\s*"(?<routed>[^"]+)"/g;

export interface ServiceCall {
  /** The service whose code calls. */
  service: string;
  /** Path below `services/`. */
  file: string;
  /** Absent where the code does not write it out. */
  action: string | undefined;
}

/** Every call of an action in the code of the services, and every route to one. */
export const serviceCalls: readonly ServiceCall[] = readdirSync(join(root, "services"), {
  recursive: true,
  encoding: "utf8",
})
  .filter((name) => name.endsWith(".ts"))
  .flatMap((file) =>
    [...text(join("services", file)).matchAll(CALLS)].map(({ groups = {} }) => ({
      service: file.slice(0, file.indexOf("/")),
      file,
      action: groups.called ?? groups.routed,
    })),
  );
