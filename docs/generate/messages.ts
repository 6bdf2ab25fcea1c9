import { messages } from "../../contracts/messages.ts";
import type { Rule } from "../../contracts/schema.ts";
import { generated, table } from "./markdown.ts";
import { readersOf, sendersOf } from "./message-routes.ts";

/** docs/messages.md: every message that must arrive, with its senders, its readers and the fields of its data. */
export async function messagesPage(root: string): Promise<string> {
  const intro = [
    "Messages are CloudEvents 1.0 and snapshots: each carries the whole state at one `version`, so a reader keeps",
    "the newest and ignores what is older. They leave through the outbox of the service that made the change and",
    "wait in the inbox of each service that reads them. `?` marks a field that may be absent. The schemas of all data",
    "are in [asyncapi.yaml](../asyncapi.yaml) (AsyncAPI 3). Senders are the services that NATS allows to publish the type,",
    "readers those with a handler for it. A type without a reader is for programs outside of the platform.",
  ].join("\n");
  const types = Object.keys(messages);
  const senders = sendersOf(root, types);
  const readers = await readersOf(types);
  const names = (services: readonly string[] = []) => services.toSorted().join(", ") || "–";
  const rows = Object.entries(messages).map(([type, rule]) => [
    `\`${type}\``,
    names(senders.get(type)),
    names(readers.get(type)),
    fieldsOf(rule),
  ]);
  return `${generated("Messages", intro)}\n${table(["type", "sent by", "read by", "data"], rows)}\n`;
}

function fieldsOf(rule: Rule): string {
  const { props } = rule as { props?: Record<string, Rule> } & Rule;
  return Object.entries(props ?? {})
    .map(([name, field]) => `${name}${field.optional ? "?" : ""}`)
    .join(", ");
}
