import type { ActionContract } from "../../contracts/action.ts";
import type { Props, Rule } from "../../contracts/schema.ts";
import type { Field, MessageShape } from "../../packages/moleculer-grpc/src/message-shape.ts";
import { protoCatalogue } from "../../packages/moleculer-grpc/src/proto-catalogue.ts";

const INT32_MAX = 2 ** 31 - 1;
const UINT32_MAX = 2 ** 32 - 1;
/** The values that a constant of a proto enum can spell. */
const CONSTANT = /^[a-z][a-z0-9_]*$/;

interface AnyRule extends Rule {
  props?: Props;
  items?: AnyRule;
  values?: readonly string[];
  integer?: boolean;
  min?: number;
  max?: number;
}

/**
 * Holds every method of the .proto files below a folder against the contract of its action: the names of the
 * fields, their kinds, and which of them may be absent.
 * @returns every difference, a line each: `orders.confirm params.quote.fee: …`
 */
export function compareProtoWithContracts(
  protoDir: string,
  actions: Readonly<Record<string, ActionContract>>,
): string[] {
  return protoCatalogue(protoDir).methods.flatMap((method) => {
    const contract = actions[method.action];
    if (!contract) return [`${method.action}: a method without a contract`];
    return [
      ...compareMessage(`${method.action} params`, method.request.shape, contract.params, true),
      ...compareMessage(`${method.action} result`, method.response.shape, contract.result, false),
    ];
  });
}

/** @param root whether a list or map may be optional here: only the bridge's server can tell those from empty */
function compareMessage(path: string, shape: MessageShape, rule: AnyRule, root: boolean): string[] {
  if (rule.type !== "object" || !rule.props) return [`${path}: ${shape.name} stands for ${rule.type}`];
  const props = rule.props as Record<string, AnyRule>;
  const missing = Object.keys(props).filter((name) => !shape.fields.has(name));
  const clears = Object.values(props).some(({ nullable }) => nullable);
  return [
    ...(clears === shape.clears
      ? []
      : [`${path}: cleared_fields only in the ${clears ? "contract" : "proto"}`]),
    ...missing.map((name) => `${path}.${name}: not in ${shape.name}`),
    ...[...shape.fields.values()].flatMap((field) => {
      const own = props[field.name];
      const here = `${path}.${field.name}`;
      if (!own) return [`${here}: in ${shape.name}, not in the contract`];
      return [...comparePresence(here, field, own, root), ...compareField(here, field, own)];
    }),
  ];
}

function comparePresence(path: string, field: Field, rule: AnyRule, root: boolean): string[] {
  if (field.many === "one") {
    if (field.optional === (rule.optional === true)) return [];
    return [`${path}: ${field.optional ? "optional only in the proto" : "optional only in the contract"}`];
  }
  if (!rule.optional || root) return [];
  return [`${path}: an absent ${field.many} cannot be told from an empty one here`];
}

function compareField(path: string, field: Field, rule: AnyRule): string[] {
  const many = rule.type === "array" ? "list" : rule.type === "record" ? "map" : "one";
  if (field.many !== many) return [`${path}: ${field.many} in the proto, ${many} in the contract`];
  if (many === "map") return [];
  return compareValue(many === "list" ? `${path}[]` : path, field, many === "list" ? rule.items : rule);
}

function compareValue(path: string, field: Field, rule: AnyRule | undefined): string[] {
  if (!rule) return [`${path}: the contract does not say what it holds`];
  if (field.kind === "message") return compareMessage(path, field.message as MessageShape, rule, false);
  const wanted = kindsFor(rule);
  if (!wanted.includes(field.kind)) {
    return [`${path}: ${field.kind} in the proto, ${wanted.join(" or ")} in the contract`];
  }
  if (field.kind !== "enum") return [];
  const proto = [...(field.values?.keys() ?? [])].sort().join(", ");
  const contract = [...(rule.values ?? [])].sort().join(", ");
  return proto === contract ? [] : [`${path}: ${proto} in the proto, ${contract} in the contract`];
}

function kindsFor({ type, values, integer, min = 0, max = Number.POSITIVE_INFINITY }: AnyRule): string[] {
  switch (type) {
    case "string":
    case "uuid":
    case "email":
      return ["string"];
    case "boolean":
      return ["bool"];
    case "enum":
      return values?.every((value) => CONSTANT.test(value)) ? ["enum"] : ["string"];
    case "number":
      if (!integer) return ["double"];
      return [
        "int64",
        ...(min >= -INT32_MAX && max <= INT32_MAX ? ["int32"] : []),
        ...(min >= 0 && max <= UINT32_MAX ? ["uint32"] : []),
      ];
    default:
      return [type === "object" ? "message" : `nothing that fits ${type}`];
  }
}
