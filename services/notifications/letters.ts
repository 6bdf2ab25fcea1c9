import { type Message, mailSealPlace } from "../../contracts/messages.ts";
import { derivedId } from "../../lib/ids.ts";
import { open, type SealKeys } from "../../lib/seal.ts";
import type { HandlerError } from "../../mixins/consumer/handlers.ts";
import type { Db } from "../../mixins/postgres/database.ts";
import { addresseesOf, type OrderMessageType } from "./audience.ts";
import { customerOf, type NewNotification } from "./notifications.repository.ts";
import { adminsOf, isForgotten, type Recipient, recipientsOf } from "./recipients.repository.ts";
import type { Letter } from "./sending.ts";
import type { Text } from "./templates/catalogue.ts";
import { renderAlert, renderDirect, renderOrder, renderRefund, renderTextMail } from "./templates/render.ts";

/** Alerts of one kind about one thing are told once in this time. */
const ALERT_WINDOW_MS = 3_600_000;
const DEFAULT_LANGUAGE = "en";

/** What those whom an order's event concerns are told. */
export async function orderLetters(
  db: Db,
  { id, type, time, data: order }: Message<OrderMessageType>,
): Promise<Letter[]> {
  const addressees = addresseesOf(type, order);
  const concerned = [...addressees.map(({ userId }) => userId), order.delivererId].filter(
    (id) => id !== undefined,
  );
  const people = await recipientsOf(db, concerned);
  const letters: Letter[] = [];
  for (const { userId, event } of addressees) {
    const person = people.get(userId);
    if (!person && (await isForgotten(db, userId))) continue;
    const deliverer = order.delivererId && people.get(order.delivererId)?.firstName;
    const customer = person?.firstName ?? order.customer.name;
    const text = renderOrder(
      event,
      { order, customer, at: time, ...(deliverer && { deliverer }) },
      languageOf(person),
    );
    const news = { messageId: id, addressee: userId, userId, orderId: order.orderId, event: type };
    letters.push(personal(news, text, person));
  }
  return letters;
}

/** The customer learns that their money is on its way back. @throws Error while nothing is known of the order */
export async function refundLetters(db: Db, { id, data }: Message<"refund.completed">): Promise<Letter[]> {
  const userId = await customerOf(db, data.orderId);
  if (!userId) throw new Error("nothing is known of the order yet");
  const person = (await recipientsOf(db, [userId])).get(userId);
  if (!person && (await isForgotten(db, userId))) return [];
  const text = renderRefund(data.amount, languageOf(person));
  const event = "refund.completed";
  return [personal({ messageId: id, addressee: userId, userId, orderId: data.orderId, event }, text, person)];
}

/** Every admin is told of an alert, but not of each repeat. */
export async function alertLetters(db: Db, message: Message<"alert.raised">): Promise<Letter[]> {
  const { data } = message;
  const admins = await adminsOf(db);
  const messageId = alertIdOf(message);
  return admins.map((admin) =>
    personal(
      { messageId, addressee: admin.userId, userId: admin.userId, event: "alert.raised" },
      renderAlert(data, admin.language),
      admin,
    ),
  );
}

/** The same for all alerts of one kind about one thing within the window. */
export function alertIdOf({ time, data }: Message<"alert.raised">): string {
  const window = Math.floor(Date.parse(time) / ALERT_WINDOW_MS);
  return derivedId("alert", `${data.kind}/${data.subject}/${window}`);
}

function personal(
  news: Omit<NewNotification, "title" | "body">,
  text: Text,
  person: Recipient | undefined,
): Letter {
  const letter = { news: { ...news, ...text } };
  if (!person) return letter;
  const { email, firstName, language } = person;
  return { ...letter, mail: { to: email, ...renderTextMail(text, firstName, language) } };
}

function languageOf(person: Recipient | undefined): string {
  return person?.language ?? DEFAULT_LANGUAGE;
}

/**
 * A mail that somebody's own act asks for.
 * @throws TemplateError, which no repeat mends; SealError, which the new secret of a running change does
 */
export function directLetter(keys: SealKeys, { id, data }: Message<"notification.requested">): Letter {
  const { summary, ...mail } = rendered(data, valuesOf(keys, data));
  return {
    news: { messageId: id, addressee: "address", userId: data.userId, event: data.template, ...summary },
    mail: { to: data.email, ...mail },
    mailOnly: true,
  };
}

type Requested = Message<"notification.requested">["data"];

function valuesOf(keys: SealKeys, { values, sealed, ...about }: Requested): Record<string, string> {
  if (sealed === undefined) return values;
  return { ...values, ...(JSON.parse(open(sealed, keys, mailSealPlace(about))) as Record<string, string>) };
}

function rendered({ template, language }: Requested, values: Record<string, string>) {
  try {
    return renderDirect(template, values, language);
  } catch (error) {
    (error as HandlerError).permanent = true;
    throw error;
  }
}
