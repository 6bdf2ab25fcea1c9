import { messages } from "../../contracts/messages.ts";
import type { Rule } from "../../contracts/schema.ts";
import { generated, table } from "./markdown.ts";

/** docs/messages.md: every message that must arrive, with the fields of its data. */
export function messagesPage(): string {
  const intro = [
    "Messages are CloudEvents 1.0 and snapshots: each carries the whole state at one `version`, so a reader keeps",
    "the newest and ignores what is older. They leave through the outbox of the service that made the change and",
    "wait in the inbox of each service that reads them. `?` marks a field that may be absent. The schemas of all data",
    "are in [asyncapi.yaml](../asyncapi.yaml) (AsyncAPI 3).",
  ].join("\n");
  const rows = Object.entries(messages).map(([type, rule]) => [`\`${type}\``, fieldsOf(rule)]);
  return `${generated("Messages", intro)}\n${table(["type", "data"], rows)}\n`;
}

function fieldsOf(rule: Rule): string {
  const { props } = rule as { props?: Record<string, Rule> } & Rule;
  return Object.entries(props ?? {})
    .map(([name, field]) => `${name}${field.optional ? "?" : ""}`)
    .join(", ");
}
