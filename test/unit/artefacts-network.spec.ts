import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "@jest/globals";
import { protoCatalogue } from "../../mixins/grpc/proto-catalogue.ts";
import { type Manifest, manifestsBelow, type Rule, root, type Selector, text } from "../support/manifests.ts";

type Labels = Record<string, string>;

const pods = ["gateway", "orders", "partners", "notifications", "identity", "media"];
const podOf = (service: string) => (service === "api" ? "gateway" : service);
const grpcPort = Number(/GRPC_PORT=(\d+)/.exec(text("Dockerfile"))?.[1]);
const protos = protoCatalogue(join(root, "proto"));

/** A call of an action, or a route to one; what follows is the action, where it is written out. */
const asks =
  /(?<![.\w])call\(\s*ctx,\s*(?:"(?<called>[^"]+)")?|ctx\.call\(|(?<![.\w])route\(\s*"[^"]+",\s*"(?<routed>[^"]+)"/g;

interface Asked {
  from: string;
  file: string;
  /** Absent where the code does not write it out. */
  action: string | undefined;
}

const asked: Asked[] = readdirSync(join(root, "services"), { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".ts"))
  .flatMap((file) =>
    [...text(join("services", file)).matchAll(asks)].map(({ groups = {} }) => ({
      from: podOf(file.slice(0, file.indexOf("/"))),
      file,
      action: groups.called ?? groups.routed,
    })),
  );

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

describe("calls by gRPC between pods", () => {
  it("are found in the code", () => {
    expect(grpcPort).toBeGreaterThan(0);
    expect(asked.length).toBeGreaterThan(60);
    expect(new Set(asked.map(({ from }) => from))).toEqual(
      new Set(["gateway", "orders", "partners", "identity", "media"]),
    );
    // Only the gateway chooses an action while it runs, of those that it has routes to or of every queue's owner.
    const chosen = new Set(asked.filter(({ action }) => !action).map(({ file }) => file));
    expect([...chosen].sort()).toEqual(["api/dead-letters.ts", "api/serve.ts"]);
    expect(calledByGrpc).toEqual(expect.arrayContaining(["gateway -> orders", "gateway -> partners"]));
  });

  it.each(["dev", "production"])("are what the policies of %s let pass, and no others", (overlay) => {
    const manifests = [...manifestsBelow("k8s/base"), ...manifestsBelow(`k8s/overlays/${overlay}`)];
    const policies = manifests.filter(({ kind }) => kind === "NetworkPolicy");
    const labels = (name: string) => {
      const found = manifests.find(({ kind, metadata }) => kind === "Deployment" && metadata.name === name);
      return found?.spec.template?.metadata.labels as Labels;
    };
    const pairs = pods.flatMap((from) => pods.filter((to) => to !== from).map((to) => [from, to] as const));
    const passing = pairs.filter(([from, to]) => lets(policies, labels(from), labels(to), grpcPort));
    expect(passing.map(([from, to]) => `${from} -> ${to}`).sort()).toEqual(calledByGrpc);
  });
});
