import { existsSync, readdirSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { describe, expect, it } from "@jest/globals";
import { parse as parseYaml } from "yaml";
import { settingsCatalogue } from "../../lib/settings/catalogue.ts";
import {
  type Container,
  type Manifest,
  madeSecrets,
  manifestsBelow,
  type Pod,
  root,
  text,
  variablesOf,
} from "../support/manifests.ts";

const base = manifestsBelow("k8s/base");
const dev = manifestsBelow("k8s/overlays/dev");
const production = manifestsBelow("k8s/overlays/production");
const everything = [...base, ...dev, ...production];
const of = (kind: string, from = base) => from.filter((each) => each.kind === kind);
const services = ["gateway", "orders", "partners", "notifications", "identity", "media"];
const patch = parseYaml(text("k8s/base/patches/deployment.yaml")) as Manifest;
const shared = patch.spec.template?.spec as Pod;
const sharedContainer = shared.containers[0] as Container;

/** Pods as they will be: of a service, what it says itself over what all have in common. */
const pods = [
  ...of("Deployment").map((each): [string, Pod] => {
    const own = each.spec.template?.spec as Pod;
    const containers = own.containers.map((one) => ({ ...sharedContainer, ...one }));
    return [each.metadata.name, { ...shared, ...own, containers }];
  }),
  ...[...of("Job"), ...of("StatefulSet", dev), ...of("Job", dev)].map((each): [string, Pod] => [
    each.metadata.name,
    each.spec.template?.spec as Pod,
  ]),
];

/** All that run in a pod, with those that run before the others. */
const containersOf = ({ containers, initContainers = [] }: Pod) => [...containers, ...initContainers];

/** Every name in a manifest or a patch, however deep. */
function keysOf(value: unknown): string[] {
  if (typeof value !== "object" || value === null) return [];
  const inner = Object.values(value).flatMap(keysOf);
  return Array.isArray(value) ? inner : [...Object.keys(value), ...inner];
}

describe("every pod", () => {
  it("is one of the pods of this test", () => {
    const templates = everything.filter(({ spec }) => keysOf(spec).includes("containers"));
    expect(templates.map(({ metadata }) => metadata.name).sort()).toEqual(pods.map(([name]) => name).sort());
  });

  it("has the security settings of its own file and of the patch for all services, in every overlay", () => {
    const overlays = ["k8s/overlays/dev", "k8s/overlays/production"];
    const patches = overlays.flatMap((overlay) => {
      const { patches = [], ...rest } = parseYaml(text(`${overlay}/kustomization.yaml`)) as {
        patches?: { path: string; patch?: string }[];
      };
      const known = ["apiVersion", "configMapGenerator", "images", "kind", "namespace", "resources"];
      expect(known).toEqual(expect.arrayContaining(Object.keys(rest)));
      return patches.map(({ path }) => `${overlay}/${path}`);
    });
    const changed = patches.flatMap((path) => parseYaml(text(path)) as { path: string; value: unknown }[]);
    expect(changed.length).toBeGreaterThan(3);
    for (const { path, value } of changed) {
      expect(path).toMatch(
        /^\/metadata\/annotations$|\/imagePullPolicy$|^\/spec\/(?:tls|rules|m(?:in|ax)Replicas)/,
      );
      expect(keysOf(value)).toEqual(path === "/metadata/annotations" ? ["kube-score/ignore"] : []);
    }
  });

  it.each(pods)("%s satisfies the restricted Pod Security standard", (_name, pod) => {
    expect(pod.securityContext).toMatchObject({
      runAsNonRoot: true,
      seccompProfile: { type: "RuntimeDefault" },
    });
    expect(pod.securityContext.runAsUser).not.toBe(0);
    for (const shared of [pod.hostNetwork, pod.hostPID, pod.hostIPC]) expect(shared).toBeUndefined();
    for (const { securityContext, ports = [] } of containersOf(pod)) {
      expect(securityContext).toMatchObject({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        runAsNonRoot: true,
      });
      expect(securityContext.capabilities).toEqual({ drop: ["ALL"] });
      expect(securityContext.runAsUser).not.toBe(0);
      const { privileged, procMount, seccompProfile } = securityContext;
      for (const loosened of [privileged, procMount, seccompProfile]) expect(loosened).toBeUndefined();
      expect(keysOf(ports)).not.toContain("hostPort");
    }
    for (const volume of pod.volumes ?? []) expect(volume.hostPath).toBeUndefined();
  });

  it.each(pods)("%s gets no token, and has limits", (_name, pod) => {
    expect(pod).toMatchObject({ automountServiceAccountToken: false, enableServiceLinks: false });
    for (const { resources } of containersOf(pod)) {
      for (const bounds of [resources.requests, resources.limits]) {
        expect(Object.keys(bounds).sort()).toEqual(["cpu", "ephemeral-storage", "memory"]);
      }
    }
  });
});

describe("Keycloak's pod", () => {
  const pod = pods.find(([name]) => name === "keycloak")?.[1];
  const [container] = pod?.containers ?? [];

  it("can write its transaction log: without a folder each start waits 30 s for one", () => {
    expect(container?.volumeMounts).toContainEqual(
      expect.objectContaining({ mountPath: "/opt/keycloak/data/transaction-logs" }),
    );
  });

  it("keeps the lock that its first start holds in an idle transaction", () => {
    const url = container?.env?.find(({ name }) => name === "KC_DB_URL")?.value;
    expect(url).toMatch(/\?options=-c%20idle_in_transaction_session_timeout=15min$/);
  });
});

describe("k8s/base", () => {
  it("has a Deployment, a Service, an autoscaler, a disruption budget and an account for each service", () => {
    for (const kind of ["Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget"]) {
      expect(
        of(kind)
          .map(({ metadata }) => metadata.name)
          .sort(),
      ).toEqual([...services].sort());
    }
    expect(
      of("ServiceAccount")
        .map(({ metadata }) => metadata.name)
        .sort(),
    ).toEqual([...services, "migrate"].sort());
    for (const account of of("ServiceAccount")) expect(account.automountServiceAccountToken).toBe(false);
    for (const { spec } of of("HorizontalPodAutoscaler")) expect(spec.minReplicas).toBeGreaterThanOrEqual(2);
    for (const { spec } of of("PodDisruptionBudget")) expect(spec.maxUnavailable).toBe(1);
  });

  it.each(of("Deployment").map((each): [string, Manifest] => [each.metadata.name, each]))(
    "%s runs its own service, with its own account and secret, and is spread",
    (name, { spec }) => {
      const pod = spec.template?.spec as Pod;
      const [container] = pod.containers as [Container];
      expect(pod.serviceAccountName).toBe(name);
      expect(pod.topologySpreadConstraints).toHaveLength(1);
      expect(container.env?.find((each) => each.name === "SERVICES")?.value).toBe(
        name === "gateway" ? "api" : name,
      );
      expect(container.envFrom?.flatMap(({ secretRef }) => secretRef?.name ?? [])).toEqual([
        `waybill-${name}`,
      ]);
      // Its own certificate and no other's.
      expect(pod.volumes).toEqual([
        { name: "certificate", secret: { secretName: `waybill-${name}-grpc`, defaultMode: 0o440 } },
      ]);
      expect(spec.template?.metadata.labels).toMatchObject(spec.selector?.matchLabels as object);
    },
  );

  it("probes life and readiness separately, becomes unready before it stops, and is replaced without a gap", () => {
    expect(sharedContainer.startupProbe?.httpGet.path).toBe("/livez");
    expect(sharedContainer.livenessProbe?.httpGet.path).toBe("/livez");
    expect(sharedContainer.readinessProbe?.httpGet.path).toBe("/readyz");
    expect(sharedContainer.lifecycle?.preStop).toBeDefined();
    // Ten to drain, three for the news.
    expect(shared.terminationGracePeriodSeconds).toBeGreaterThanOrEqual(13);
    expect(patch.spec.strategy?.rollingUpdate.maxUnavailable).toBe(0);
    const announced = sharedContainer.env?.find(({ name }) => name === "GRPC_ANNOUNCE");
    expect(announced?.valueFrom?.fieldRef?.fieldPath).toBe("status.podIP");
    expect(sharedContainer.volumeMounts.map(({ mountPath }) => mountPath).sort()).toEqual([
      "/certificates",
      "/data",
      "/tmp",
    ]);
  });

  it("refuses every connection that no policy allows", () => {
    const policies = of("NetworkPolicy");
    const denied = policies.find(({ metadata }) => metadata.name === "default-deny");
    expect(denied?.spec).toEqual({ podSelector: {}, policyTypes: ["Ingress", "Egress"] });
    const gateway = policies.find(({ metadata }) => metadata.name === "gateway");
    expect(gateway?.spec.ingress?.[0]?.ports).toEqual([{ port: 3000 }]);
    const reach = gateway?.spec.egress?.flatMap(({ to = [] }) => to);
    expect(reach?.map(({ podSelector }) => podSelector?.matchLabels?.["app.kubernetes.io/name"])).toEqual([
      "orders",
      "partners",
      "identity",
    ]);
  });

  it("permits calls to the internet, but to no private network", () => {
    const internet = of("NetworkPolicy").find(({ metadata }) => metadata.name === "internet");
    const inside = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"];
    const shared = ["100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"];
    const ipBlock = { cidr: "0.0.0.0/0", except: expect.arrayContaining([...inside, ...shared]) };
    expect(internet?.spec.egress).toEqual([{ to: [{ ipBlock }], ports: [{ port: 443 }, { port: 8443 }] }]);
    expect(internet?.spec.podSelector?.matchExpressions?.[0]?.values).toEqual([
      "orders",
      "partners",
      "notifications",
    ]);
  });

  it("is reached at delivery.local, by TLS", () => {
    const [ingress] = of("Ingress");
    expect(ingress?.spec).toMatchObject({
      tls: [{ hosts: ["delivery.local"], secretName: "waybill-tls" }],
      rules: [{ host: "delivery.local" }],
    });
    expect(text("k8s/base/waybill.env")).toContain("PUBLIC_URL=https://delivery.local\n");
  });

  it("is in a namespace for nothing else", () => {
    expect(of("Namespace")[0]?.metadata.labels).toMatchObject({
      "pod-security.kubernetes.io/enforce": "restricted",
    });
  });
});

describe("all of k8s/", () => {
  it("contains no secret, and names where each comes from", () => {
    expect(of("Secret", everything)).toEqual([]);
    const secrets = madeSecrets();
    const keys = new Map(
      secrets.map(({ metadata, stringData = {} }) => [metadata.name, Object.keys(stringData)]),
    );
    const manifests = JSON.stringify(everything);
    const referenced = [
      ...manifests.matchAll(/"(?:secretKeyRef|secretRef)":\{"name":"([^"]+)"(?:,"key":"([^"]+)")?/g),
    ];
    expect(referenced.length).toBeGreaterThan(20);
    for (const [, name = "", key] of referenced) {
      expect([name, keys.has(name)]).toEqual([name, true]);
      if (key) expect([name, keys.get(name)]).toEqual([name, expect.arrayContaining([key])]);
    }
    for (const { metadata, stringData = {} } of secrets.filter(({ metadata: { name } }) =>
      name.startsWith("waybill-"),
    )) {
      const unknown = Object.keys(stringData).filter((name) => !(name in settingsCatalogue));
      expect([metadata.name, unknown]).toEqual([metadata.name, []]);
    }
  });

  it("connects to NATS as a user of nats.conf with a password, wherever NATS is named", () => {
    const users = [...text("deploy/nats/nats.conf").matchAll(/^ +user: ([a-z]+)$/gm)].map(([, user]) => user);
    const secrets = madeSecrets();
    const told = everything
      .flatMap(({ spec }) => (spec?.template ? containersOf(spec.template.spec) : []))
      .filter(({ envFrom }) => JSON.stringify(envFrom ?? []).includes('"configMapRef":{"name":"waybill"}'));
    expect(told).toHaveLength(7);
    const known = told.map(({ envFrom = [] }) => {
      const from = envFrom.map(({ secretRef }) => secretRef?.name);
      const { stringData = {} } = secrets.find(({ metadata }) => from.includes(metadata.name)) ?? {};
      return { user: stringData.NATS_USER, hasPassword: Boolean(stringData.NATS_PASSWORD) };
    });
    const wanted = users.filter((user) => user !== "operator").map((user) => ({ user, hasPassword: true }));
    expect(known).toHaveLength(wanted.length);
    expect(known).toEqual(expect.arrayContaining(wanted));
  });

  it("contains only known settings", () => {
    for (const file of ["base/waybill.env", "overlays/dev/waybill.env", "overlays/production/waybill.env"]) {
      const names = Object.keys(variablesOf(`k8s/${file}`));
      expect(names.length).toBeGreaterThan(3);
      expect([file, names.filter((name) => !(name in settingsCatalogue))]).toEqual([file, []]);
    }
  });

  it("lists every manifest in its kustomization, and no other", () => {
    const folders = ["k8s/base", "k8s/overlays/dev", "k8s/overlays/dev/stores", "k8s/overlays/production"];
    for (const folder of folders) {
      const { resources, patches = [] } = parseYaml(text(`${folder}/kustomization.yaml`)) as {
        resources: string[];
        patches?: { path: string }[];
      };
      const listed = [...resources, ...patches.map(({ path }) => path)];
      for (const path of listed) expect([path, existsSync(join(root, folder, path))]).toEqual([path, true]);
      const files = readdirSync(join(root, folder)).filter(
        (name) => /\.yaml$/.test(name) && name !== "kustomization.yaml",
      );
      expect(files.filter((name) => !listed.includes(name))).toEqual([]);
      expect(listed.every((path) => existsSync(resolve(root, folder, dirname(path))))).toBe(true);
    }
  });
});
