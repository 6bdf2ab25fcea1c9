import { createPrivateKey, X509Certificate } from "node:crypto";
import { describe, expect, it } from "@jest/globals";
import { parse as parseYaml } from "yaml";
import { readSettings, type SettingsError } from "../../lib/settings/settings.ts";
import {
  type Container,
  type Manifest,
  madeSecrets,
  manifestsBelow,
  text,
  variablesOf,
} from "../support/manifests.ts";

const overlays = ["dev", "production"];
const base = manifestsBelow("k8s/base");
const secrets = new Map(madeSecrets().map(({ metadata, stringData = {} }) => [metadata.name, stringData]));
const patch = parseYaml(text("k8s/base/patches/deployment.yaml")) as Manifest;
/** The environment that the image sets. */
const image = Object.fromEntries(
  [...text("Dockerfile").matchAll(/^(?:ENV| ) +([A-Z_]+)=(\S+)/gm)].map(([, name, value]) => [name, value]),
);
const POD_IP = "10.244.0.7";

/** The pods that run our image, with what each says itself over what all services have in common. */
const pods = base
  .filter(({ kind }) => kind === "Deployment" || kind === "Job")
  .map(({ kind, metadata, spec }) => {
    const own = spec.template?.spec.containers[0] as Container;
    const common = kind === "Deployment" ? patch.spec.template?.spec.containers[0]?.env : [];
    return { name: metadata.name, env: [...(common ?? []), ...(own.env ?? [])], envFrom: own.envFrom ?? [] };
  });

/** The map that kustomize generates: the base's, and the overlay's over it. */
const configMap = (overlay: string) => ({
  ...variablesOf("k8s/base/waybill.env"),
  ...variablesOf(`k8s/overlays/${overlay}/waybill.env`),
});

/** The environment of a pod's process, in the order in which one source hides another. */
function environmentOf(pod: (typeof pods)[number], overlay: string): Record<string, string> {
  const from = pod.envFrom.map(({ configMapRef, secretRef }) =>
    configMapRef ? configMap(overlay) : secrets.get(secretRef?.name ?? ""),
  );
  const own = pod.env.map(({ name, value, valueFrom }) => [name, valueFrom ? POD_IP : value]);
  return Object.assign({}, image, ...from, Object.fromEntries(own));
}

/** The errors with which the platform ends at its start; empty if it starts. */
function complaints(env: Record<string, string>, options?: { checkRequired: boolean }): string[] {
  try {
    readSettings(env, options);
    return [];
  } catch (error) {
    return (error as SettingsError).lines;
  }
}

describe.each(overlays)("k8s/overlays/%s", (overlay) => {
  it.each(pods.filter(({ name }) => name !== "migrate"))("$name has every setting that it needs", (pod) => {
    const env = environmentOf(pod, overlay);
    expect(env).toMatchObject({ NODE_ENV: "production", SERVICES: expect.any(String), GRPC_PORT: "3003" });
    expect(complaints(env)).toEqual([]);
  });

  it("the job that migrates has the databases, the broker and its user", () => {
    const env = environmentOf(pods.find(({ name }) => name === "migrate") as (typeof pods)[number], overlay);
    expect(complaints(env, { checkRequired: false })).toEqual([]);
    expect(env).toMatchObject({
      POSTGRES_URL_ORDERS: expect.any(String),
      POSTGRES_URL_PARTNERS: expect.any(String),
      POSTGRES_URL_NOTIFICATIONS: expect.any(String),
      POSTGRES_URL_IDENTITY: expect.any(String),
      NATS_URL: expect.any(String),
      NATS_USER: "deploy",
    });
  });

  it("is reached at the address in its settings", () => {
    const { patches = [] } = parseYaml(text(`k8s/overlays/${overlay}/kustomization.yaml`)) as {
      patches?: { path: string; target: { kind: string } }[];
    };
    const ingress = base.find(({ kind }) => kind === "Ingress") as Manifest;
    const host = new URL(configMap(overlay).PUBLIC_URL ?? "").hostname;
    const patched = patches
      .filter(({ target }) => target.kind === "Ingress")
      .flatMap(({ path }) => parseYaml(text(`k8s/overlays/${overlay}/${path}`)) as object[]);
    if (patched.length > 0) {
      expect(patched).toEqual([
        { op: "replace", path: "/spec/tls/0/hosts/0", value: host },
        { op: "replace", path: "/spec/rules/0/host", value: host },
      ]);
    } else {
      expect(ingress.spec.rules?.map((each) => each.host)).toEqual([host]);
    }
  });
});

describe("k8s/make-secrets.sh", () => {
  it("makes each service a certificate with the name of its nodes, of one authority", () => {
    const made = new Map(madeSecrets().map((secret) => [secret.metadata.name, secret.data ?? {}]));
    const decoded = (name: string, key: string) =>
      Buffer.from(made.get(`waybill-${name}-grpc`)?.[key] ?? "", "base64");
    const names = base.filter(({ kind }) => kind === "Deployment").map(({ metadata }) => metadata.name);
    const authority = new X509Certificate(decoded("orders", "ca.crt"));
    for (const name of names) {
      const certificate = new X509Certificate(decoded(name, "tls.crt"));
      expect([name, certificate.checkHost(name, { subject: "never" })]).toEqual([name, name]);
      expect(certificate.verify(authority.publicKey)).toBe(true);
      expect(certificate.checkPrivateKey(createPrivateKey(decoded(name, "tls.key")))).toBe(true);
    }
    expect(names).toHaveLength(6);
  });
});

describe("k8s/overlays/production", () => {
  it("has only names that the documentation says to replace, and those of the cluster", () => {
    const places = Object.entries(configMap("production")).flatMap(([name, value]) => {
      const host = /^[a-z]+:\/\/([^/:]+)/.exec(value)?.[1] ?? /@([^\s>]+)/.exec(value)?.[1];
      return host && !/(^|\.)example\.internal$|\.svc$/.test(host) ? [`${name}=${value}`] : [];
    });
    expect(places).toEqual([]);
    expect(configMap("production")).toMatchObject({
      PUBLIC_URL: expect.any(String),
      MAIL_FROM: expect.any(String),
    });
  });
});
