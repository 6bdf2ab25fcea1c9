import { call, type Result } from "../../contracts/actions.ts";
import { REPLAY_MAX } from "../../contracts/dead-letters.ts";
import { typeOf } from "../../contracts/errors.ts";
import { queueOwners } from "../../contracts/operations.ts";
import { type Command, type CommandCall, CommandError, idOf } from "./command.ts";
import { grpcClientCommands } from "./grpc-client-commands.ts";
import { paymentCommands } from "./payment-commands.ts";
import { peopleCommands } from "./people-commands.ts";
import { actorText, facts, moneyText, shortTime, table } from "./table.ts";

const order: Command = {
  usage: "order <id>",
  about: "Why an order does not go on, with its state, history and deadline",
  example: "order 0199c1a2-7f31-7a10-9d2e-0b7c5d1e2f30",
  async run({ broker, args }) {
    const found = await call(broker, "orders.diagnosis", { orderId: idOf(args.id) });
    return { json: found, text: diagnosisText(found) };
  },
};

function diagnosisText(found: Result<"orders.diagnosis">): string {
  const {
    order: it,
    findings,
    notAsked,
    history,
    deadline,
    undelivered,
    webhooks,
    receipts,
    refunds,
  } = found;
  const { reconciliation } = found;
  const parts = [
    ...findings.map(({ sentence, evidence, next }, index) =>
      facts([
        [index === 0 ? "WHY" : "ALSO", sentence],
        ...(evidence.length > 0 ? [["", evidence.join("; ")] as const] : []),
        ["next", next],
      ]),
    ),
    ...(notAsked.length > 0
      ? [facts([["NOT ASKED", notAsked.map(({ service, reason }) => `${service} (${reason})`).join(", ")]])]
      : []),
    facts([
      ["ORDER", it.id],
      ["number", it.number ?? "none"],
      ["status", `${it.status}, ${it.paymentStatus}, version ${it.version}`],
      ["customer", it.customer.name],
      ["partner", it.partner.title],
      ["deliverer", it.delivererId ?? "none"],
      ["total", `${moneyText(it.total)}, paid ${moneyText(it.paid)}, refunded ${moneyText(it.refunded)}`],
      ["bank", reconciliation ? bankText(reconciliation) : "never polled"],
      ["deadline", deadline ? `${shortTime(deadline.at)}: ${deadline.effect}` : "none"],
    ]),
    table(
      ["AT (UTC)", "TO", "BY", "TRACE", "REASON"],
      history.map((event) => [
        shortTime(event.at),
        event.to,
        actorText(event.actor),
        event.traceId?.slice(0, 8) ?? "",
        event.reason ?? "",
      ]),
    ),
  ];
  const more: [string, string[], string[][]][] = [
    [
      "UNDELIVERED",
      ["AT", "TRIES", "NEXT (UTC)", "ERROR"],
      undelivered.map(({ type, service = "", place = "", state, attempts, nextAt, error }) => [
        type,
        `${service} ${state === "dead" ? "dead" : place}`,
        String(attempts),
        shortTime(nextAt),
        error ?? "",
      ]),
    ],
    [
      "WEBHOOK",
      ["TRY", "STATE", "ANSWER", "AT (UTC)", "NEXT (UTC)"],
      webhooks.map(({ type, attempt, state, statusCode, error, createdAt, dueAt }) => [
        type,
        String(attempt),
        state,
        statusCode ? String(statusCode) : (error ?? ""),
        shortTime(createdAt),
        shortTime(dueAt),
      ]),
    ],
    [
      "PAYMENT",
      ["OUTCOME", "AMOUNT", "AT (UTC)"],
      receipts.map(({ paymentId, outcome, amount, at }) => [
        paymentId,
        outcome,
        moneyText(amount),
        shortTime(at),
      ]),
    ],
    [
      "REFUND",
      ["STATE", "AMOUNT", "REASON"],
      refunds.map(({ id, state, amount, reason }) => [id, state, moneyText(amount), reason]),
    ],
  ];
  for (const [first, headings, rows] of more)
    if (rows.length > 0) parts.push(table([first, ...headings], rows, first === "PAYMENT" ? 0 : undefined));
  return parts.join("\n\n");
}

function bankText({
  looks,
  answeredAt,
  nextAt,
  error,
}: NonNullable<Result<"orders.diagnosis">["reconciliation"]>): string {
  const answered = answeredAt ? `, last answer ${shortTime(answeredAt)}` : "";
  const next = nextAt ? `, next ${shortTime(nextAt)}` : "";
  return `polled ${looks} times${answered}${next}${error ? `: ${error}` : ""}`;
}

const orders: Command = {
  usage: "orders <which>",
  about: "Orders that wait for an operator, by cause, age and place (which: stuck)",
  example: "orders stuck --cause not_assigned --city Berlin",
  options: [
    { name: "cause", value: "cause", description: "with this cause, as partner_silent" },
    { name: "partner", value: "id", description: "of this partner" },
    { name: "city", value: "city", description: "of partners in this city" },
    { name: "before", value: "time", description: "stuck since this time in UTC or longer" },
    { name: "by", value: "group", description: "count by cause, partner or city" },
    { name: "cursor", value: "cursor", description: "the next page" },
  ],
  async run({ broker, args, options, given }) {
    if (args.which !== "stuck") throw new CommandError('say "orders stuck"');
    const { partner, ...filter } = given;
    const found = await call(broker, "orders.stuck", {
      ...(filter as object), // the contract checks the values
      ...(partner !== undefined && { partnerId: idOf(partner) }),
      limit: options.limit,
    });
    const { items, groups, nextCursor } = found;
    if (items.length === 0) return { json: found, text: "No order is stuck." };
    const by = given.by ?? "cause";
    const parts = [
      table(
        [by.toUpperCase(), "ORDERS", "OLDEST (UTC)"],
        groups.map(({ name, count, oldest }) => [name, String(count), shortTime(oldest)]),
        0,
      ),
      table(
        ["ORDER", "NUMBER", "SINCE (UTC)", "CAUSE"],
        items.map((it) => [it.id, it.number ?? "", shortTime(it.stuckSince), it.stuckCause ?? ""]),
      ),
    ];
    if (nextCursor) parts.push(`There are more: repeat the command with --cursor ${nextCursor}`);
    return { json: found, text: parts.join("\n\n") };
  },
};

const deadLetters: Command = {
  usage: "dead-letters",
  about: "Messages that could not be handled, of all services",
  example: "dead-letters --json",
  async run({ broker, options }) {
    const lists = await Promise.all(
      queueOwners.map((service) => call(broker, `${service}.deadLetters`, { limit: options.limit })),
    );
    const items = lists.flatMap((list) => list.items);
    const rows = items.map((it) => [it.id, it.service, it.type, String(it.attempts), it.error]);
    return {
      json: items,
      text:
        rows.length > 0
          ? table(["ID", "SERVICE", "TYPE", "TRIES", "ERROR"], rows)
          : "There are no dead letters.",
    };
  },
};

const deadLetterOptions = [
  { name: "consumer", value: "name", description: "of this consumer, such as partner-webhooks" },
  { name: "type", value: "type", description: "messages of this type" },
  { name: "partner", value: "id", description: "webhooks to this partner's system" },
  { name: "reason", value: "text", description: "with this text in the error" },
  { name: "before", value: "time", description: "that became dead letters before this time in UTC" },
];

const replay: Command = {
  usage: "replay <id>",
  about: "Delivers a dead letter again",
  example: "replay 0199c1a2-7f31-7a10-9d2e-0b7c5d1e2f30",
  run: (command) => decide(command, "replayDeadLetter", "will be delivered again"),
};

const replayDeadLetters: Command = {
  usage: "replay-dead-letters <service>",
  about: "Delivers again all dead letters of a service, or those that match the options",
  example: "replay-dead-letters partners --type order.paid --max 500 --yes",
  options: [
    ...deadLetterOptions,
    { name: "max", value: "number", description: "at most so many, the oldest first" },
  ],
  yes: "replays them; without it, only their number is shown",
  async run(command) {
    const { args, options, given, progress } = command;
    const max = given.max === undefined ? Number.POSITIVE_INFINITY : Number(given.max);
    if (!(max >= 1)) throw new CommandError("--max takes a number from 1");
    const { service } = args;
    if (!options.yes) {
      const { left, nextCursor } = await replaySome(command, { limit: 0 });
      const count = `${nextCursor === undefined ? "" : "at least "}${left}`;
      return {
        json: { service, matching: left, hasMore: nextCursor !== undefined },
        text: `${count} dead letters of ${service} match. Repeat it with --yes to replay them.`,
      };
    }
    let [replayed, left] = [0, 0];
    const refused: { id: string; reason: string }[] = [];
    for (let cursor: string | undefined; ; ) {
      const limit = Math.min(REPLAY_MAX, max - replayed - refused.length);
      const some = await replaySome(command, { limit, ...(cursor !== undefined && { cursor }) });
      replayed += some.replayed;
      refused.push(...some.refused);
      left = some.left;
      cursor = some.nextCursor;
      if (cursor === undefined || replayed + refused.length >= max) break;
      progress(`${replayed} replayed, ${refused.length} refused, ${left} left`);
    }
    const parts = [`${replayed} dead letters of ${service} will be delivered again, ${left} are left.`];
    if (refused.length > 0) {
      parts.push(
        table(
          ["REFUSED", "REASON"],
          refused.map(({ id, reason }) => [id, reason]),
        ),
      );
    }
    return { json: { service, replayed, refused, left }, text: parts.join("\n\n") };
  },
};

/** Replays the dead letters of one call, or counts them if `limit` is 0. */
async function replaySome(command: CommandCall, how: { limit: number; cursor?: string }) {
  return await call(command.broker, `${serviceOf(command)}.replayDeadLetters`, {
    ...filterOf(command),
    ...how,
  });
}

const drop: Command = {
  usage: "drop <id>",
  about: "Drops a dead letter for good",
  example: "drop 0199c1a2-7f31-7a10-9d2e-0b7c5d1e2f30 --yes",
  destroys: "the dead letter, whose effect will never happen",
  run: (command) => decide(command, "dropDeadLetter", "is dropped"),
};

const dropDeadLetters: Command = {
  usage: "drop-dead-letters <service>",
  about: "Drops for good all dead letters of a service, or those that match the options",
  example: "drop-dead-letters partners --type order.paid --before 2026-11-22T10:30:00Z --yes",
  options: deadLetterOptions,
  async destroys(command) {
    const { left, nextCursor } = await dropSome(command, { limit: 0 });
    const count = `${nextCursor === undefined ? "" : "at least "}${left}`;
    return `${count} dead letters of ${command.args.service}, whose effects will never happen`;
  },
  async run(command) {
    let [dropped, left] = [0, 0];
    for (let cursor: string | undefined; ; ) {
      const some = await dropSome(command, cursor === undefined ? {} : { cursor });
      dropped += some.dropped;
      left = some.left;
      // The rest cannot be dropped now: another operator is replaying or dropping it.
      if (some.nextCursor === undefined && (left === 0 || some.dropped === 0)) break;
      cursor = some.nextCursor ?? cursor;
    }
    const service = command.args.service;
    return {
      json: { service, dropped, left },
      text: `${dropped} dead letters of ${service} are dropped, ${left} are left.`,
    };
  },
};

/** Drops the dead letters of one call, or counts them if `limit` is 0. */
async function dropSome(command: CommandCall, how: { limit?: number; cursor?: string }) {
  return await call(command.broker, `${serviceOf(command)}.dropDeadLetters`, {
    ...filterOf(command),
    ...how,
  });
}

function serviceOf({ args }: CommandCall) {
  const service = queueOwners.find((name) => name === args.service);
  if (!service) throw new CommandError(`say which service: ${queueOwners.join(", ")}`);
  return service;
}

function filterOf({ given: { partner, max: _max, ...filter } }: CommandCall) {
  return { ...filter, ...(partner !== undefined && { partnerId: idOf(partner) }) };
}

/** Tries all services, because the id of a dead letter does not contain its service. */
async function decide(
  { broker, args }: Parameters<Command["run"]>[0],
  action: "replayDeadLetter" | "dropDeadLetter",
  done: string,
) {
  const id = idOf(args.id);
  for (const service of queueOwners) {
    try {
      await call(broker, `${service}.${action}`, { id });
      return { json: { id, service }, text: `The dead letter ${id} of ${service} ${done}.` };
    } catch (error) {
      if (typeOf(error) !== "NOT_FOUND") throw error;
    }
  }
  throw new CommandError(`no service has a dead letter ${id}`);
}

const outbox: Command = {
  usage: "outbox",
  about: "The number of waiting messages in outboxes and inboxes, and the age of the oldest",
  example: "outbox",
  async run({ gauges: read }) {
    const gauges = await read();
    const rows = gauges.map(({ service, name, figures }) => [
      service,
      name,
      typeof figures === "number"
        ? String(figures)
        : Object.entries(figures)
            .map(([label, figure]) => `${label} ${figure}`)
            .join(", "),
    ]);
    return { json: gauges, text: table(["SERVICE", "GAUGE", "VALUE"], rows) };
  },
};

const partner: Command = {
  usage: "partner <what> <id>",
  about: "Stops or allows new orders to a partner (what: pause, resume)",
  example: "partner pause 0199c1a2-7f31-7a10-9d2e-0b7c5d1e2f30",
  async run({ broker, args }) {
    if (args.what !== "pause" && args.what !== "resume") {
      throw new CommandError('say "partner pause" or "partner resume"');
    }
    const paused = args.what === "pause";
    const found = await call(broker, "partners.update", { partnerId: idOf(args.id), enabled: !paused });
    return { json: found, text: `${found.title} ${paused ? "takes no orders" : "takes orders again"}.` };
  },
};

const banks: Command = {
  usage: "banks",
  about: "The registered payment systems, and whether they answer polls",
  example: "banks",
  async run({ broker }) {
    const { items } = await call(broker, "orders.listBanks", {});
    const stateOf = ({ active, contact }: (typeof items)[number]) =>
      contact?.silentSince ? `silent since ${shortTime(contact.silentSince)}` : active ? "active" : "off";
    const rows = items.map((it) => [it.id, it.title, it.adapter, stateOf(it)]);
    return { json: items, text: table(["BANK", "TITLE", "ADAPTER", "STATE"], rows, 1) };
  },
};

const webhooks: Command = {
  usage: "webhooks <partner>",
  about: "The latest webhooks to a partner's system",
  example: "webhooks 0199c1a2-7f31-7a10-9d2e-0b7c5d1e2f30 --limit 20",
  async run({ broker, args, options }) {
    const { items } = await call(broker, "partners.listWebhookDeliveries", {
      partnerId: idOf(args.partner),
      limit: options.limit,
    });
    const rows = items.map((it) => [
      it.id,
      it.type,
      it.state,
      String(it.attempt),
      it.statusCode === undefined ? "" : String(it.statusCode),
      shortTime(it.createdAt),
    ]);
    return { json: items, text: table(["DELIVERY", "TYPE", "STATE", "TRY", "HTTP", "AT (UTC)"], rows, 1) };
  },
};

export const commands: readonly Command[] = [
  order,
  orders,
  deadLetters,
  replay,
  drop,
  replayDeadLetters,
  dropDeadLetters,
  outbox,
  partner,
  banks,
  ...paymentCommands,
  webhooks,
  ...peopleCommands,
  ...grpcClientCommands,
];
