/**
 * `npm run test:manifests`: what others think of our manifests. kustomize builds the overlays, kubernetes-validate holds
 * them against the schemas of Kubernetes, kube-score looks for what operators regret, promtool reads the alerts and
 * docker-compose its files. The tools are made once, by Go and pip, and kept.
 */
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { cacheFolder } from "./engine.ts";

const KUBERNETES = "1.34";
const goTools = {
  kustomize: "sigs.k8s.io/kustomize/kustomize/v5@v5.5.0",
  "kube-score": "github.com/zegl/kube-score/cmd/kube-score@v1.20.0",
} as const;
const KUBERNETES_VALIDATE = "kubernetes-validate==1.34.1";
const OVERLAYS = ["dev", "production"];
const MAX_OUTPUT_BYTES = 64 * 1024 * 1024;

const root = fileURLToPath(new URL("../../", import.meta.url));
const run = promisify(execFile);
const say = (line: string) => process.stdout.write(`${line}\n`);

const folder = mkdtempSync(join(tmpdir(), "waybill-manifests-"));
try {
  await main();
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exitCode = 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}

async function main(): Promise<void> {
  const kustomize = await goTool("kustomize");
  const kubeScore = await goTool("kube-score");
  const validate = await kubernetesValidate();
  for (const overlay of OVERLAYS) {
    const { stdout } = await told(kustomize, ["build", join(root, "k8s/overlays", overlay)]);
    const file = join(folder, `${overlay}.yaml`);
    writeFileSync(file, stdout);
    const kinds = stdout.match(/^kind: /gm)?.length ?? 0;
    await told(validate, ["--kubernetes-version", KUBERNETES, "--strict", file]);
    const { stdout: scored } = await told(kubeScore, ["score", "--output-format", "ci", file]);
    const findings = scored.split("\n").filter((line) => /^\[(CRITICAL|WARNING)\]/.test(line));
    if (findings.length > 0) throw new Error(`kube-score of ${overlay}:\n${findings.join("\n")}`);
    const passed = scored.split("\n").filter((line) => line.startsWith("[OK]")).length;
    say(
      `k8s/overlays/${overlay}: ${kinds} manifests are valid for Kubernetes ${KUBERNETES}; kube-score: ${passed} checks, no finding`,
    );
  }
  const alerts = await told(
    "promtool",
    ["check", "rules", join(root, "deploy/prometheus/alerts.yml")],
    "prometheus",
  );
  say(`alerts: ${alerts.stdout.match(/\d+ rules found/)?.[0]}`);
  const prometheus = join(root, "deploy/prometheus/prometheus.yml");
  await told("promtool", ["check", "config", "--syntax-only", prometheus], "prometheus");
  await told("haproxy", ["-c", "-f", join(root, "deploy/proxy/haproxy.cfg")], "haproxy");
  say("proxy and Prometheus: configurations are valid");
  await composeFiles();
}

async function composeFiles(): Promise<void> {
  const env = join(folder, "env");
  await told("sh", [join(root, "deploy/compose/make-env.sh"), env]);
  const [core, sandbox] = ["docker-compose.yml", "docker-compose.sandbox.yml"].map((name) =>
    join(root, name),
  );
  for (const files of [[core], [core, sandbox]] as string[][]) {
    const words = ["--env-file", env, ...files.flatMap((file) => ["--file", file])];
    await told("docker-compose", [...words, "--profile", "telemetry", "config", "--quiet"], "docker-compose");
  }
  say("docker compose: both files are valid");
}

/** A program of a Go module, at a version. */
async function goTool(name: keyof typeof goTools): Promise<string> {
  const source = goTools[name];
  const version = source.slice(source.indexOf("@") + 1);
  const path = join(cacheFolder(), `${name}-${version}`);
  if (existsSync(path)) return path;
  say(`${name} ${version} is being built (once)`);
  const into = mkdtempSync(join(tmpdir(), "waybill-tool-"));
  try {
    await told("go", ["install", source], "golang", {
      GOBIN: into,
      CGO_ENABLED: "0",
      GOFLAGS: "-buildvcs=false",
    });
    mkdirSync(cacheFolder(), { recursive: true });
    await run("cp", [join(into, name), `${path}.half`]);
    renameSync(`${path}.half`, path);
    return path;
  } finally {
    rmSync(into, { recursive: true, force: true });
  }
}

async function kubernetesValidate(): Promise<string> {
  const environment = join(cacheFolder(), KUBERNETES_VALIDATE.replace("==", "-"));
  const path = join(environment, "bin/kubernetes-validate");
  if (existsSync(path)) return path;
  say(`${KUBERNETES_VALIDATE} is being installed (once)`);
  mkdirSync(cacheFolder(), { recursive: true });
  await told("python3", ["-m", "venv", environment], "python3-venv");
  await told(join(environment, "bin/pip"), ["install", "--quiet", KUBERNETES_VALIDATE]);
  return path;
}

/** @throws Error with what the program said; in one line where it is missing */
async function told(file: string, words: string[], packageName = file, env: Record<string, string> = {}) {
  const options = { maxBuffer: MAX_OUTPUT_BYTES, env: { ...process.env, ...env } };
  try {
    return await run(file, words, options);
  } catch (error) {
    const { code, stdout = "", stderr = "" } = error as { code?: string; stdout?: string; stderr?: string };
    if (code === "ENOENT") throw new Error(`${file} is missing: apt-get install ${packageName}`);
    throw new Error(`${file} ${words.join(" ")}\n${stdout}${stderr}`);
  }
}
