import { call, type Result } from "../../contracts/actions.ts";
import { grpcMethods } from "../../contracts/grpc-clients.ts";
import { type Answer, type Command, type CommandCall, CommandError } from "./command.ts";
import { facts, shortTime, table } from "./table.ts";

type GrpcClient = Result<"identity.grpcClients">["items"][number];

const clients: Command = {
  usage: "clients [what] [name]",
  about: "Lists the gRPC clients, or: create, show, revoke, methods",
  example: "clients create erp --methods Orders/List,Orders/Get --rate 20",
  options: [
    { name: "methods", value: "list", description: "that it may call, as Orders/List,Partners/Get" },
    { name: "rate", value: "number", description: "calls a second on each node, 20 if not given" },
    { name: "expires", value: "time", description: "when the key ends, in UTC" },
  ],
  async destroys({ args }) {
    return args.what === "revoke" ? `the key of ${args.name}, whose calls end at once` : undefined;
  },
  run(command) {
    const { what } = command.args;
    if (what === undefined) return list(command);
    const form = Object.hasOwn(forms, what) ? forms[what] : undefined;
    if (!form) throw new CommandError(`say "clients" or: ${Object.keys(forms).join(", ")}`);
    return form(command);
  },
};

const forms: Record<string, (command: CommandCall) => Promise<Answer>> = {
  async create({ broker, args, given }) {
    const { rate, expires } = given;
    const { client, key } = await call(broker, "identity.createGrpcClient", {
      name: args.name ?? "",
      methods: methodsOf(given.methods),
      ...(rate !== undefined && { callsPerSecond: Number(rate) }),
      ...(expires !== undefined && { expiresAt: expires }),
    });
    const text = `${clientText(client)}\n\nIts key, which is shown only now:\n\n${key}`;
    return { json: { client, key }, text };
  },
  async show({ broker, args }) {
    const found = (await allOf(broker)).find(({ id, name }) => args.name === id || args.name === name);
    if (!found) throw new CommandError("there is no such client");
    return { json: found, text: clientText(found) };
  },
  async revoke({ broker, args }) {
    const revoked = await call(broker, "identity.revokeGrpcClient", { client: args.name ?? "" });
    return { json: revoked, text: `${revoked.name} is revoked.` };
  },
  async methods() {
    return { json: grpcMethods, text: grpcMethods.join("\n") };
  },
};

async function list({ broker, options }: CommandCall): Promise<Answer> {
  const { items } = await call(broker, "identity.grpcClients", { limit: options.limit });
  const rows = items.map((it) => [
    it.name,
    it.state,
    String(it.methods.length),
    it.expiresAt ? shortTime(it.expiresAt) : "never",
    it.lastUsedAt ? shortTime(it.lastUsedAt) : "never",
  ]);
  const headings = ["CLIENT", "STATE", "METHODS", "EXPIRES (UTC)", "LAST USED (UTC)"];
  return { json: items, text: rows.length > 0 ? table(headings, rows, 0) : "There are none." };
}

/** Newest first, so that a name finds its newest client. */
async function allOf(broker: CommandCall["broker"]): Promise<GrpcClient[]> {
  const all: GrpcClient[] = [];
  for (let cursor: string | undefined; ; ) {
    const { items, nextCursor } = await call(broker, "identity.grpcClients", {
      limit: 100,
      ...(cursor !== undefined && { cursor }),
    });
    all.push(...items);
    if (nextCursor === undefined) return all;
    cursor = nextCursor;
  }
}

/** Full names of methods from full or short ones, as `Orders/List`. */
function methodsOf(list = ""): string[] {
  return list.split(",").map((given) => {
    const method = grpcMethods.find((name) => name === given.trim() || name.endsWith(`.${given.trim()}`));
    if (!method) throw new CommandError(`there is no method "${given}" for clients: see "clients methods"`);
    return method;
  });
}

function clientText(client: GrpcClient): string {
  return facts([
    ["CLIENT", client.id],
    ["name", client.name],
    ["state", client.revokedAt ? `revoked ${shortTime(client.revokedAt)}` : client.state],
    ["methods", client.methods.join(" ")],
    ["rate", `${client.callsPerSecond} calls a second on each node`],
    ["expires", client.expiresAt ? shortTime(client.expiresAt) : "never"],
    ["last used", client.lastUsedAt ? shortTime(client.lastUsedAt) : "never"],
    ["created", `${shortTime(client.createdAt)}, by ${client.createdBy}`],
  ]);
}

export const grpcClientCommands: readonly Command[] = [clients];
