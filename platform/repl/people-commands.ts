import { call, type Params, type Result } from "../../contracts/actions.ts";
import { operatorRoles, roles } from "../../contracts/meta.ts";
import { isId } from "../../lib/ids.ts";
import { type Answer, type Command, type CommandCall, CommandError, idOf } from "./command.ts";
import { facts, shortTime, table } from "./table.ts";

/** The reason in the account, unless --reason gives one. The audit log contains the operator's id. */
const BY_REPL = "By the console.";
const EXAMPLE_ID = "0199c1a2-7f31-7a10-9d2e-0b7c5d1e2f30";
const INVITED_ROLES = ["deliverer", ...operatorRoles] as const;

type User = Result<"identity.user">["user"];

/** The forms of the command `users`. Those with `destroys` need --yes. */
const userForms: Record<
  string,
  Pick<Command, "run"> & { destroys?: (email: string, command: CommandCall) => string }
> = {
  show: {
    async run({ broker, args }) {
      const userId = idOf(args.who);
      const [found, { items: sessions }] = await Promise.all([
        call(broker, "identity.user", { userId }),
        call(broker, "identity.userSessions", { userId }),
      ]);
      return { json: { ...found, sessions }, text: userText(found, sessions) };
    },
  },
  suspend: {
    destroys: (email) => `the sessions of ${email}, who cannot sign in until "users restore"`,
    async run({ broker, args, given }) {
      const params = { userId: idOf(args.who), reason: given.reason ?? BY_REPL };
      return stateAnswer(await call(broker, "identity.suspendUser", params));
    },
  },
  restore: {
    run: async ({ broker, args }) =>
      stateAnswer(await call(broker, "identity.restoreUser", { userId: idOf(args.who) })),
  },
  role: {
    destroys: (email, { args }) =>
      `the present role of ${email}, who becomes ${args.email}, and all sessions`,
    async run({ broker, args, given }) {
      const role = roles.find((name) => name === args.email);
      if (!role) throw new CommandError(`say "users role <id> ${roles.join("|")}"`);
      const staff = role === "partner" && given.partner !== undefined && { partnerId: idOf(given.partner) };
      return stateAnswer(await call(broker, "identity.setRole", { userId: idOf(args.who), role, ...staff }));
    },
  },
  "remove-role": {
    destroys: (email) => `the role and the sessions of ${email}`,
    run: async ({ broker, args }) =>
      stateAnswer(await call(broker, "identity.removeRole", { userId: idOf(args.who) })),
  },
  "end-sessions": {
    destroys: (email) => `the sessions of ${email}`,
    async run({ broker, args }) {
      const userId = idOf(args.who);
      await call(broker, "identity.endUserSessions", { userId });
      return { json: { userId }, text: "All sessions have ended." };
    },
  },
  invite: {
    async run({ broker, args }) {
      const role = INVITED_ROLES.find((name) => name === args.who);
      if (!role) throw new CommandError(`say "users invite ${INVITED_ROLES.join("|")} <email>"`);
      const found = await call(broker, "identity.invite", { email: args.email ?? "", role });
      return {
        json: found,
        text: `${args.email} is invited as ${role} until ${shortTime(found.expiresAt)}.`,
      };
    },
  },
};

const users: Command = {
  usage: "users [what] [who] [email]",
  about: `Lists users, or: ${Object.keys(userForms).join(", ")}`,
  example: `users suspend ${EXAMPLE_ID} --reason "Left." --yes`,
  options: [
    { name: "q", value: "words", description: "with these beginnings of name, address, phone" },
    { name: "role", value: "role", description: "of this role" },
    { name: "state", value: "state", description: "unconfirmed, active or suspended" },
    { name: "partner", value: "id", description: "staff of this partner; with role: the partner" },
    { name: "reason", value: "text", description: "why the user is suspended" },
  ],
  async destroys(command) {
    const { destroys } = formOf(command) ?? {};
    if (!destroys) return undefined;
    const { user } = await call(command.broker, "identity.user", { userId: idOf(command.args.who) });
    return destroys(user.email, command);
  },
  run(command) {
    const { q, role, state, partner } = command.given;
    const filter = { q, role, state, partnerId: partner === undefined ? undefined : idOf(partner) };
    return formOf(command)?.run(command) ?? listUsers(command, filter);
  },
};

const couriers: Command = {
  usage: "couriers [which]",
  about: "Lists the accounts of couriers, the newest first, or those on-duty",
  example: "couriers on-duty --limit 20",
  async run(command) {
    const { which } = command.args;
    if (which === undefined) return listUsers(command, { role: "deliverer" });
    if (which !== "on-duty") throw new CommandError('say "couriers" or "couriers on-duty"');
    const { limit } = command.options;
    const { items } = await call(command.broker, "orders.couriers", { duty: "on", limit });
    const rows = items.map((it) => [
      it.id,
      `${it.underWay}/${it.ordersAtOnce}`,
      it.vehicle ?? "",
      it.positionAt ? shortTime(it.positionAt) : "none",
      it.name ?? "",
    ]);
    const headings = ["COURIER", "ORDERS", "VEHICLE", "POSITION", "NAME"];
    return { json: items, text: rows.length > 0 ? table(headings, rows) : "No courier is on duty." };
  },
};

const assign: Command = {
  usage: "assign <order> <courier>",
  about: "Assigns an order to a courier, by id or by words of the name",
  example: `assign ${EXAMPLE_ID} "carl c"`,
  options: [{ name: "reason", value: "text", description: "for the history of the order" }],
  async run({ broker, args, given }) {
    const { courier = "" } = args;
    const found = await call(broker, "orders.reassign", {
      orderId: idOf(args.order),
      ...(isId(courier) ? { delivererId: courier } : { courier }),
      reason: given.reason ?? BY_REPL,
    });
    return { json: found, text: `The order is ${found.status}, with the courier ${found.delivererId}.` };
  },
};

const partners: Command = {
  usage: "partners",
  about: "Lists the partners, and whether they take orders",
  example: "partners",
  async run({ broker, options }) {
    const { items } = await call(broker, "partners.list", { limit: options.limit });
    const stateOf = ({ enabled, verified, open }: (typeof items)[number]) =>
      open ? "open" : !verified ? "not verified" : enabled ? "closed" : "paused";
    const rows = items.map((it) => [it.id, stateOf(it), it.title]);
    return {
      json: items,
      text: rows.length > 0 ? table(["PARTNER", "STATE", "TITLE"], rows) : "There are none.",
    };
  },
};

const invitations: Command = {
  usage: "invitations [what] [id]",
  about: "Lists invitations, or: withdraw, resend",
  example: `invitations withdraw ${EXAMPLE_ID} --yes`,
  async destroys({ args }) {
    return args.what === "withdraw" ? "the invitation, whose link no longer works" : undefined;
  },
  async run({ broker, args, options }) {
    if (args.what === "withdraw" || args.what === "resend") {
      const invitationId = idOf(args.id);
      if (args.what === "withdraw") {
        await call(broker, "identity.withdrawInvitation", { invitationId });
        return { json: { invitationId }, text: "The invitation is withdrawn." };
      }
      const found = await call(broker, "identity.resendInvitation", { invitationId });
      return { json: found, text: `The invitation was sent again, until ${shortTime(found.expiresAt)}.` };
    }
    if (args.what !== undefined) throw new CommandError('say "invitations withdraw" or "invitations resend"');
    const { items } = await call(broker, "identity.invitations", { limit: options.limit });
    const rows = items.map((it) => [it.id, it.role, it.state, it.email]);
    const text = rows.length > 0 ? table(["INVITATION", "ROLE", "STATE", "EMAIL"], rows) : "There are none.";
    return { json: items, text };
  },
};

function formOf({ args }: CommandCall) {
  if (args.what === undefined) return undefined;
  const form = Object.hasOwn(userForms, args.what) ? userForms[args.what] : undefined;
  if (!form) throw new CommandError(`say "users" or: ${Object.keys(userForms).join(", ")}`);
  return form;
}

/** The action validates the filter, so a wrong role or state is named in its error. */
async function listUsers(
  { broker, options }: CommandCall,
  filter: Record<string, string | undefined>,
): Promise<Answer> {
  const given = Object.fromEntries(Object.entries(filter).filter(([, value]) => value !== undefined));
  const { items } = await call(broker, "identity.users", {
    ...(given as Params<"identity.users">),
    limit: options.limit,
  });
  const rows = items.map((it) => [it.id, it.role, it.state, it.email]);
  return {
    json: items,
    text: rows.length > 0 ? table(["USER", "ROLE", "STATE", "EMAIL"], rows) : "There are none.",
  };
}

function stateAnswer(user: User): Answer {
  return { json: user, text: `${user.email} is ${user.state}, ${user.role}.` };
}

function userText(
  { user, audit }: Result<"identity.user">,
  sessions: Result<"identity.userSessions">["items"],
): string {
  const pairs: [string, string][] = [
    ["USER", user.id],
    ["name", `${user.firstName} ${user.lastName}`.trim()],
    ["email", user.email],
    ["phone", user.phone ?? "none"],
    [
      "role",
      `${user.role}${user.partnerId ? ` of ${user.partnerId}` : ""}${user.partnerAdmin ? ", its admin" : ""}`,
    ],
    [
      "state",
      user.suspendedAt ? `suspended ${shortTime(user.suspendedAt)}: ${user.suspensionReason}` : user.state,
    ],
    ["sessions", String(sessions.length)],
  ];
  const acts = audit.map((it) => [shortTime(it.at), it.action, it.detail ?? ""]);
  return [facts(pairs), ...(acts.length > 0 ? [table(["AT (UTC)", "ACT", "DETAIL"], acts)] : [])].join(
    "\n\n",
  );
}

export const peopleCommands: readonly Command[] = [users, couriers, assign, partners, invitations];
