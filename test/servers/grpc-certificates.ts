import { execFile } from "node:child_process";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import type { ServiceName } from "../../lib/settings/catalogue.ts";

const COMMAND = resolve(import.meta.dirname, "../../platform/commands/certificates.ts");
const NODES = ["gateway", "orders", "partners", "notifications", "identity", "media"];

/**
 * Makes the certificates of a cluster by the command that installations use.
 * @returns the settings of a process that runs this service alone
 */
export async function grpcCertificates(
  folder: string,
): Promise<(service: ServiceName) => Record<string, string>> {
  const args = ["--authority", join(folder, "authority"), "--to", folder, ...NODES];
  await promisify(execFile)(process.execPath, [COMMAND, ...args]);
  return (service) => {
    const own = join(folder, service === "api" ? "gateway" : service);
    return {
      GRPC_TLS_CERT: join(own, "tls.crt"),
      GRPC_TLS_KEY: join(own, "tls.key"),
      GRPC_TLS_CA: join(own, "ca.crt"),
    };
  };
}
