import { alertTold } from "../../../contracts/alerts.ts";
import { type Message, mailSealPlace } from "../../../contracts/messages.ts";
import { decrypt, type EncryptionKeys } from "../../../lib/encryption.ts";
import { derivedId } from "../../../lib/ids.ts";
import { omitUndefined } from "../../../lib/omit-undefined.ts";
import type { Db } from "../../../lib/sql/database.ts";
import type { HandlerError } from "../../../mixins/consumer/handlers.ts";
import { addresseesOf, type OrderMessageType } from "../domain/audience.ts";
import { canWait } from "../domain/templates/catalogue.ts";
import {
  renderAlert,
  renderDirect,
  renderOrder,
  renderRefund,
  renderTextMail,
  type TemplateTexts,
  type Way,
  type Written,
} from "../domain/templates/render.ts";
import { customerOf, type NewNotification } from "../store/notifications.repository.ts";
import { adminsOf, isForgotten, type Recipient, recipientsOf } from "../store/recipients.repository.ts";
import type { OutgoingNotification } from "./sending.ts";

/** A deadline that stays missed raises its alert again: operators hear of one order once in this time. */
const ALERT_WINDOW_MS = 3_600_000;
const DEFAULT_LANGUAGE = "en";

/** What those whom an order's event concerns are told. */
export async function orderNotifications(
  db: Db,
  own: TemplateTexts,
  { id, type, time, data: order }: Message<OrderMessageType>,
): Promise<OutgoingNotification[]> {
  const addressees = addresseesOf(type, order);
  const concerned = [...addressees.map(({ userId }) => userId), order.delivererId].filter(
    (id) => id !== undefined,
  );
  const people = await recipientsOf(db, concerned);
  const letters: OutgoingNotification[] = [];
  for (const { userId, event } of addressees) {
    const person = people.get(userId);
    if (!person && (await isForgotten(db, userId))) continue;
    const deliverer = order.delivererId && people.get(order.delivererId)?.firstName;
    // Until identity has told of a customer, the order knows the name; of a deliverer it knows none.
    const firstName = person?.firstName ?? (userId === order.customer.id ? order.customer.name : undefined);
    const told = omitUndefined({ order, firstName, deliverer, at: time });
    const write = (way: Way) => renderOrder(event, told, languageOf(person), way);
    const news = { messageId: id, addressee: userId, userId, orderId: order.orderId, event: type };
    const waits = canWait(event) ? { waits: { orderVersion: order.version } } : {};
    letters.push({ ...personal(news, write, own, person), ...waits });
  }
  return letters;
}

/** The customer learns that their money is on its way back. @throws Error while nothing is known of the order */
export async function refundNotifications(
  db: Db,
  own: TemplateTexts,
  { id, data }: Message<"refund.completed">,
): Promise<OutgoingNotification[]> {
  const userId = await customerOf(db, data.orderId);
  if (!userId) throw new Error("nothing is known of the order yet");
  const person = (await recipientsOf(db, [userId])).get(userId);
  if (!person && (await isForgotten(db, userId))) return [];
  const write = (way: Way) => renderRefund(data.amount, person?.firstName, languageOf(person), way);
  const news = {
    messageId: id,
    addressee: userId,
    userId,
    orderId: data.orderId,
    event: "refund.completed",
  };
  const waits = canWait("refund.completed:customer") ? { waits: {} } : {};
  return [{ ...personal(news, write, own, person), ...waits }];
}

/** Every admin is told of every alert; only of what is raised again and again, once a window or once. */
export async function alertNotifications(
  db: Db,
  own: TemplateTexts,
  message: Message<"alert.raised">,
): Promise<OutgoingNotification[]> {
  const { data } = message;
  const admins = await adminsOf(db);
  const messageId = alertIdOf(message);
  return admins.map((admin) =>
    personal(
      { messageId, addressee: admin.userId, userId: admin.userId, event: "alert.raised" },
      (way) => renderAlert(data, admin.firstName, admin.language, way),
      own,
      admin,
    ),
  );
}

/** An alert is one of its own; those that are raised again and again are the same within the window, or for ever. */
export function alertIdOf({ id, time, data }: Message<"alert.raised">): string {
  const told = alertTold(data.kind);
  if (told === "each") return id;
  if (told === "once") return derivedId("alert", `${data.kind}/${data.subject}`);
  const window = Math.floor(Date.parse(time) / ALERT_WINDOW_MS);
  return derivedId("alert", `${data.kind}/${data.subject}/${window}`);
}

/** By push and, where there is an address, by mail, each in its own words. */
function personal(
  news: Omit<NewNotification, "title" | "body">,
  write: (way: Way) => Written,
  own: TemplateTexts,
  person: Recipient | undefined,
): OutgoingNotification {
  const { title, body } = write({ channel: "push", own });
  const mailText = write({ channel: "email", own });
  const letter = { news: { ...news, title, body }, mailText };
  return person ? { ...letter, mail: mailFor(mailText, person) } : letter;
}

/** The mail around a text, to this person. */
export function mailFor(
  text: Written,
  { email, firstName }: Recipient,
): NonNullable<OutgoingNotification["mail"]> {
  return { to: email, ...renderTextMail(text, firstName, text.language) };
}

function languageOf(person: Recipient | undefined): string {
  return person?.language ?? DEFAULT_LANGUAGE;
}

/**
 * A mail that somebody's own act asks for.
 * @throws TemplateError, which no repeat mends; SealError, which the new secret of a running change does
 */
export function directNotification(
  keys: EncryptionKeys,
  own: TemplateTexts,
  { id, data }: Message<"notification.requested">,
): OutgoingNotification {
  const { summary, ...mail } = rendered(data, valuesOf(keys, data), own);
  return {
    news: { messageId: id, addressee: "address", userId: data.userId, event: data.template, ...summary },
    mail: { to: data.email, ...mail },
    mailOnly: true,
  };
}

type Requested = Message<"notification.requested">["data"];

function valuesOf(keys: EncryptionKeys, { values, sealed, ...about }: Requested): Record<string, string> {
  if (sealed === undefined) return values;
  return {
    ...values,
    ...(JSON.parse(decrypt(sealed, keys, mailSealPlace(about))) as Record<string, string>),
  };
}

function rendered({ template, language }: Requested, values: Record<string, string>, own: TemplateTexts) {
  try {
    return renderDirect(template, values, language, own);
  } catch (error) {
    (error as HandlerError).permanent = true;
    throw error;
  }
}
