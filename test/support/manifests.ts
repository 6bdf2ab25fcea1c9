import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseAllDocuments } from "yaml";

export const root = resolve(import.meta.dirname, "../..");
export const text = (path: string) => readFileSync(join(root, path), "utf8");

/** As much of a manifest as is asked for here. */
export interface Manifest {
  kind: string;
  metadata: { name: string; labels?: Record<string, string>; annotations?: Record<string, string> };
  spec: Spec;
  stringData?: Record<string, string>;
  data?: Record<string, string>;
  automountServiceAccountToken?: boolean;
}
export interface Spec {
  template?: { metadata: { labels: Record<string, string> }; spec: Pod };
  minReplicas?: number;
  maxReplicas?: number;
  maxUnavailable?: number;
  scaleTargetRef?: { name: string };
  selector?: { matchLabels?: Record<string, string> };
  podSelector?: Selector;
  policyTypes?: string[];
  ingress?: Rule[];
  egress?: Rule[];
  tls?: { hosts: string[]; secretName: string }[];
  rules?: { host: string }[];
  strategy?: { rollingUpdate: { maxUnavailable: number } };
}
export interface Selector {
  matchLabels?: Record<string, string>;
  matchExpressions?: { key: string; operator: "In"; values: string[] }[];
}
export interface Rule {
  to?: Peer[];
  from?: Peer[];
  ports?: { port: number }[];
}
export interface Peer {
  podSelector?: Selector;
  namespaceSelector?: Selector;
  ipBlock?: { cidr: string; except?: string[] };
}
export interface Pod {
  automountServiceAccountToken?: boolean;
  enableServiceLinks?: boolean;
  hostNetwork?: boolean;
  hostPID?: boolean;
  hostIPC?: boolean;
  serviceAccountName?: string;
  terminationGracePeriodSeconds?: number;
  topologySpreadConstraints?: object[];
  securityContext: { runAsNonRoot?: boolean; runAsUser?: number; seccompProfile?: { type: string } };
  containers: Container[];
  /** They run before those, on the same node and with the same volumes. */
  initContainers?: Container[];
  volumes?: { name: string; emptyDir?: object; hostPath?: object; secret?: object }[];
}
export interface Container {
  name: string;
  image: string;
  env?: { name: string; value?: string; valueFrom?: { fieldRef?: { fieldPath: string } } }[];
  envFrom?: { configMapRef?: { name: string }; secretRef?: { name: string } }[];
  ports?: { containerPort: number }[];
  resources: { requests: Record<string, string>; limits: Record<string, string> };
  securityContext: {
    allowPrivilegeEscalation?: boolean;
    readOnlyRootFilesystem?: boolean;
    runAsNonRoot?: boolean;
    runAsUser?: number;
    privileged?: boolean;
    procMount?: string;
    seccompProfile?: { type: string };
    capabilities?: { drop: string[]; add?: string[] };
  };
  startupProbe?: { httpGet: { path: string } };
  livenessProbe?: { httpGet: { path: string } };
  readinessProbe?: { httpGet: { path: string } };
  lifecycle?: { preStop?: object };
  volumeMounts: { name: string; mountPath: string }[];
}

/** The manifests of a folder below the repository's root; patches of other manifests left out. */
export function manifestsBelow(folder: string): Manifest[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".yaml") && !/kustomization|patches|local-images|sizes/.test(name))
    .flatMap((name) =>
      parseAllDocuments(text(join(folder, name))).map((document) => document.toJS() as Manifest),
    );
}

/** The output of k8s/make-secrets.sh: the Secrets of an installation, with new passwords. */
export function madeSecrets(): Manifest[] {
  const made = execFileSync("sh", [join(root, "k8s/make-secrets.sh")], { encoding: "utf8" });
  return parseAllDocuments(made).map((document) => document.toJS() as Manifest);
}

/** The variables of a file of lines NAME=value. */
export function variablesOf(path: string): Record<string, string> {
  return Object.fromEntries(
    [...text(path).matchAll(/^([A-Z][A-Z0-9_]*)=(.*)$/gm)].map(([, name = "", value = ""]) => [name, value]),
  );
}
