import { join } from "node:path";
import { describe, expect, it } from "@jest/globals";
import { protoCatalogue } from "../../packages/moleculer-grpc/src/proto-catalogue.ts";
import {
  type Manifest,
  madeSecrets,
  manifestsBelow,
  type Peer,
  type Rule,
  root,
  type Selector,
  text,
} from "../support/manifests.ts";
import { serviceCalls } from "../support/service-calls.ts";

type Labels = Record<string, string>;

const pods = ["gateway", "orders", "partners", "notifications", "identity", "media"];
const grpcPort = Number(/GRPC_PORT=(\d+)/.exec(text("Dockerfile"))?.[1]);
const protos = protoCatalogue(join(root, "proto"));

const podOf = (service: string) => (service === "api" ? "gateway" : service);
const asked = serviceCalls.map(({ service, ...call }) => ({ ...call, from: podOf(service) }));

/** `media -> orders` for each pair of pods of which the first calls an action of the second's by gRPC. */
const calledByGrpc = [
  ...new Set(
    asked.flatMap(({ from, action = "" }) => {
      const to = action.slice(0, action.indexOf("."));
      return protos.methodOf(action) && to !== from ? [`${from} -> ${to}`] : [];
    }),
  ),
].sort();

function selects(selector: Selector, labels: Labels): boolean {
  const { matchLabels = {}, matchExpressions = [] } = selector;
  return (
    Object.entries(matchLabels).every(([key, value]) => labels[key] === value) &&
    matchExpressions.every(({ key, operator, values }) => {
      if (operator !== "In") throw new Error(`${operator} is not understood here`);
      return values.includes(labels[key] ?? "");
    })
  );
}

/** Whether the policies let a connection pass: out of the one pod, and into the other. */
function lets(policies: readonly Manifest[], from: Labels, to: Labels, port: number): boolean {
  const passes = (type: "Ingress" | "Egress", pod: Labels, other: Labels) =>
    policies
      .filter(({ spec }) => spec.policyTypes?.includes(type) && selects(spec.podSelector ?? {}, pod))
      .flatMap(({ spec }): Rule[] => (type === "Ingress" ? spec.ingress : spec.egress) ?? [])
      .some(
        (rule) =>
          (rule.ports === undefined || rule.ports.some((each) => each.port === port)) &&
          ((type === "Ingress" ? rule.from : rule.to) ?? []).some(
            ({ podSelector, namespaceSelector }) =>
              podSelector && !namespaceSelector && selects(podSelector, other),
          ),
      );
  return passes("Egress", from, to) && passes("Ingress", to, from);
}

function installation(overlay: string) {
  const manifests = [...manifestsBelow("k8s/base"), ...manifestsBelow(`k8s/overlays/${overlay}`)];
  return { manifests, policies: manifests.filter(({ kind }) => kind === "NetworkPolicy") };
}

/** The labels of every pod, by its name. */
function podsOf(manifests: readonly Manifest[]): Map<string, Labels> {
  const templates = manifests.flatMap(({ metadata, spec }) =>
    spec?.template ? [[metadata.name, spec.template.metadata.labels] as const] : [],
  );
  return new Map(templates);
}

const rulesOf = ({ spec }: Manifest): Rule[] => [...(spec.ingress ?? []), ...(spec.egress ?? [])];
const peersOf = ({ from, to }: Rule): Peer[] => from ?? to ?? [];

/** The store behind a setting, and the ports of an external one. */
const stores: readonly { setting: RegExp; store: string; port: number; elsewhere: readonly number[] }[] = [
  { setting: /^NATS_PASSWORD$/, store: "nats", port: 4222, elsewhere: [4222] },
  { setting: /^REDIS_URL$/, store: "redis", port: 6379, elsewhere: [6379] },
  { setting: /^POSTGRES_URL_/, store: "postgres", port: 5432, elsewhere: [5432] },
  { setting: /^MONGO_URL$/, store: "mongo", port: 27017, elsewhere: [27017] },
  { setting: /^S3_SECRET_KEY$/, store: "minio", port: 9000, elsewhere: [443] },
  { setting: /^KEYCLOAK_CLIENT_SECRET$/, store: "keycloak", port: 8080, elsewhere: [443] },
  { setting: /^SMTP_URL$/, store: "mail", port: 1025, elsewhere: [465, 587] },
];

/** The stores that a pod of the platform has the password or the address of. */
const known = new Map(
  madeSecrets()
    .filter(({ metadata: { name } }) => name.startsWith("waybill-"))
    .map(({ metadata: { name }, stringData = {} }) => [
      name.slice("waybill-".length),
      stores.filter(({ setting }) => Object.keys(stringData).some((each) => setting.test(each))),
    ]),
);

/** `keycloak -> postgres:5432` for each address of a store that a pod's manifest holds itself. */
function namedByManifests(manifests: readonly Manifest[]): string[] {
  return manifests.flatMap(({ metadata, spec }) =>
    (spec?.template?.spec.containers ?? []).flatMap(({ env = [] }) =>
      env.flatMap(({ value = "" }) => {
        const [, store, port] = /\/\/([a-z]+):(\d+)/.exec(value) ?? [];
        const isStore = stores.some((one) => one.store === store) && store !== metadata.name;
        return isStore ? [`${metadata.name} -> ${store}:${port}`] : [];
      }),
    ),
  );
}

describe("stores", () => {
  it("are reached in dev by the pods with their address or password, at one port, and by no others", () => {
    const { manifests, policies } = installation("dev");
    const all = podsOf(manifests);
    const wanted = [...known].flatMap(([pod, its]) =>
      its.map(({ store, port }) => `${pod} -> ${store}:${port}`),
    );
    expect(wanted.length).toBeGreaterThan(20);
    const passing = stores.flatMap(({ store, port }) => {
      const run = manifests.find(({ kind, metadata }) => kind === "StatefulSet" && metadata.name === store);
      const open = run?.spec.template?.spec.containers.flatMap(({ ports = [] }) => ports) ?? [];
      const to = all.get(store) as Labels;
      return [...new Set([port, ...open.map(({ containerPort }) => containerPort)])].flatMap((each) =>
        [...all]
          .filter(([name, from]) => name !== store && lets(policies, from, to, each))
          .map(([name]) => `${name} -> ${store}:${each}`),
      );
    });
    expect(passing.toSorted()).toEqual([...wanted, ...namedByManifests(manifests)].toSorted());
  });

  it("are reached in production, at any place, by the same pods", () => {
    const { manifests, policies } = installation("production");
    for (const [pod, labels] of podsOf(manifests)) {
      const ports = policies
        .filter(({ spec }) => selects(spec.podSelector ?? {}, labels))
        .flatMap(({ spec }) => spec.egress ?? [])
        .filter(({ to = [] }) => to.some(({ ipBlock }) => ipBlock && !ipBlock.except?.includes("10.0.0.0/8")))
        .flatMap(({ ports = [] }) => ports.map(({ port }) => port));
      const wanted = known.get(pod)?.flatMap(({ elsewhere }) => elsewhere) ?? [];
      expect([pod, [...new Set(ports)].toSorted()]).toEqual([pod, [...new Set(wanted)].toSorted()]);
    }
  });
});

describe("network policies", () => {
  const beyond = {
    dev: [],
    production: [
      "migrate-to-nats",
      "to-nats-and-redis",
      "to-postgres",
      "to-mongo",
      "to-keycloak-and-objects",
    ].map((name) => `${name}: 10.0.0.0/8`),
  };
  it.each(["dev", "production"] as const)(
    "of %s reach beyond our own pods by name, and never to all",
    (overlay) => {
      const { policies } = installation(overlay);
      expect(
        policies.flatMap(rulesOf).filter((rule) => peersOf(rule).length === 0 || !rule.ports?.length),
      ).toEqual([]);
      const outside = policies.flatMap((policy) =>
        rulesOf(policy)
          .flatMap(peersOf)
          .filter(({ podSelector, namespaceSelector }) => !podSelector || namespaceSelector)
          .map(({ ipBlock, namespaceSelector }) => {
            const namespace = namespaceSelector?.matchLabels?.["kubernetes.io/metadata.name"];
            return `${policy.metadata.name}: ${ipBlock?.cidr ?? namespace}`;
          }),
      );
      const everywhere = [
        "gateway: ingress-nginx",
        "internet: 0.0.0.0/0",
        "metrics: monitoring",
        "names: kube-system",
      ];
      const mail = overlay === "production" ? ["to-mail: 0.0.0.0/0"] : [];
      expect(outside.toSorted()).toEqual(
        [...everywhere, "traces: monitoring", ...beyond[overlay], ...mail].toSorted(),
      );
    },
  );
});

describe("calls by gRPC between pods", () => {
  it("are found in the code", () => {
    expect(grpcPort).toBeGreaterThan(0);
    expect(asked.length).toBeGreaterThan(60);
    expect(new Set(asked.map(({ from }) => from))).toEqual(
      new Set(["gateway", "orders", "partners", "identity", "media"]),
    );
    // The gateway chooses an action of those that it has routes to; both files besides ask the owner of every queue.
    const chosen = new Set(asked.filter(({ action }) => !action).map(({ file }) => file));
    expect([...chosen].sort()).toEqual([
      "api/actions/dead-letters.ts",
      "api/pipeline/serve.ts",
      "orders/actions/diagnosis.ts",
    ]);
    expect(calledByGrpc).toEqual(expect.arrayContaining(["gateway -> orders", "gateway -> partners"]));
  });

  it.each(["dev", "production"])("are exactly those that the policies of %s permit", (overlay) => {
    const { manifests, policies } = installation(overlay);
    const labels = (name: string) => {
      const found = manifests.find(({ kind, metadata }) => kind === "Deployment" && metadata.name === name);
      return found?.spec.template?.metadata.labels as Labels;
    };
    const pairs = pods.flatMap((from) => pods.filter((to) => to !== from).map((to) => [from, to] as const));
    const passing = pairs.filter(([from, to]) => lets(policies, labels(from), labels(to), grpcPort));
    expect(passing.map(([from, to]) => `${from} -> ${to}`).sort()).toEqual(calledByGrpc);
  });
});
