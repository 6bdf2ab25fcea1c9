import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { pack } from "../../packages/pack.ts";
import { freePort } from "../../platform/free-port.ts";
import { plainClient } from "../support/bridge.ts";
import { codeBlocks, type Project, projectWith } from "../support/installed-package.ts";
import { reflect } from "../support/reflection.ts";

const README = "packages/moleculer-grpc/README.md";
const TIMEOUT_MS = 300_000;

describe("moleculer-grpc, packed and installed in another project, with the code of its README", () => {
  const tarballs = mkdtempSync(join(tmpdir(), "waybill-tarball-"));
  let project: Project;
  let port: number;
  let server: ChildProcess;
  let printed = "";

  /** Runs the README's client without Moleculer. */
  async function runClient(name: string): Promise<string> {
    const env = { ...process.env, PORT: String(port) };
    const { stdout } = await promisify(execFile)(process.execPath, ["client.js", name], {
      cwd: project.folder,
      timeout: TIMEOUT_MS,
      env,
    });
    return stdout.trim();
  }

  beforeAll(async () => {
    project = projectWith(pack("moleculer-grpc", tarballs));
    mkdirSync(join(project.folder, "proto"));
    project.write("proto/greeter.proto", codeBlocks(README, "proto").join("\n"));
    project.write("greeter.ts", codeBlocks(README, "ts").join("\n"));
    project.write("client.js", codeBlocks(README, "js").join("\n"));
    await project.compile("greeter.ts");
    port = await freePort();
    server = spawn(process.execPath, ["greeter.js"], {
      cwd: project.folder,
      env: { ...process.env, PORT: String(port) },
      stdio: ["ignore", "pipe", "inherit"],
    });
    await new Promise<void>((done) => {
      server.stdout?.on("data", (chunk) => {
        printed += chunk;
        if (printed.includes("Hello Zoe")) done();
      });
    });
  }, TIMEOUT_MS);

  afterAll(() => {
    server?.kill("SIGKILL");
    project?.remove();
    rmSync(tarballs, { recursive: true, force: true });
  });

  it("needs about twenty lines for a service", () => {
    const lines = codeBlocks(README, "ts").join("\n").split("\n");
    expect(lines.filter((line) => line.trim() !== "").length).toBeLessThanOrEqual(25);
  });

  it("calls the service from another node by gRPC", () => {
    expect(printed).toContain("{ text: 'Hello Zoe' }");
    expect(printed).toContain(`gRPC on 127.0.0.1:${port}`);
  });

  it("answers a client that has the proto file and a credential, and no Moleculer", async () => {
    expect(await runClient("Ann")).toBe("Hello Ann");
  });

  it("answers a wrong parameter of such a client with INVALID_ARGUMENT", async () => {
    expect(await runClient("A")).toBe("3 Parameters validation error!");
  });

  it("answers reflection and health checks", async () => {
    const { client, health, close } = plainClient(`127.0.0.1:${port}`);
    try {
      expect(await health("shop.v1.Greeter")).toBe("SERVING");
      expect(JSON.stringify(await reflect(client, { list_services: "" }))).toContain("shop.v1.Greeter");
    } finally {
      close();
    }
  });

  it("stops on SIGTERM", async () => {
    const exited = once(server, "exit");
    server.kill("SIGTERM");
    await expect(exited).resolves.toEqual([0, null]);
  });
});
