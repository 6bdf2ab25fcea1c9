import { alertAudience, alertIdOf, alertUrgency } from "../../../contracts/alerts.ts";
import { type Message, mailAad, type OrderSnapshot } from "../../../contracts/messages.ts";
import { decrypt, type EncryptionKeys } from "../../../lib/encryption.ts";
import { omitUndefined } from "../../../lib/omit-undefined.ts";
import type { Db } from "../../../lib/sql/database.ts";
import type { HandlerError } from "../../../mixins/consumer/handlers.ts";
import { addresseesOf, concernsStaff, type OrderMessageType } from "../domain/audience.ts";
import { minutesLeft } from "../domain/reminders.ts";
import { isDeferrable, usesBothChannels } from "../domain/templates/catalogue.ts";
import type { MailDesign, MailDetails, OrderDetails } from "../domain/templates/mail.ts";
import {
  type DirectInput,
  type RenderedText,
  type RenderOptions,
  renderAlert,
  renderDirect,
  renderNear,
  renderOrder,
  renderRefund,
  renderReminder,
  type TemplateOverrideLookup,
} from "../domain/templates/render.ts";
import { customerOf, type NewNotification, type Reminder } from "../store/notifications.repository.ts";
import {
  isErased,
  listOperators,
  type Recipient,
  recipientsOf,
  recipientsWithStaff,
} from "../store/recipients.repository.ts";
import type { OutgoingNotification } from "./sending.ts";

const DEFAULT_LANGUAGE = "en";

/** The notifications that an event of an order causes, one for each addressee. */
export async function orderNotifications(
  db: Db,
  overrides: TemplateOverrideLookup,
  { id, type, time, data: order }: Message<OrderMessageType>,
): Promise<OutgoingNotification[]> {
  const { delivererId, formerDelivererId, offeredTo, nearbyDelivererIds = [] } = order;
  const deliverers = [delivererId, formerDelivererId, offeredTo, ...nearbyDelivererIds];
  const concerned = [order.customer.id, ...deliverers].filter((id) => id !== undefined);
  const staffed = concernsStaff(type, order) ? order.partnerId : undefined;
  const { people, staff } = await recipientsWithStaff(db, concerned, staffed);
  const addressees = addresseesOf(type, order, staff);
  const outgoing: OutgoingNotification[] = [];
  for (const { userId, event } of addressees) {
    const person = people.get(userId);
    // A courier nearby can miss an order; the others get their notifications later if they are not known yet.
    if (!person && (event === "order.ready:deliverer" || (await isErased(db, userId)))) continue;
    const deliverer = order.delivererId && people.get(order.delivererId)?.firstName;
    // Before the customer's user.registered message arrives, the name comes from the order. It has no deliverer's name.
    const firstName = person?.firstName ?? (userId === order.customer.id ? order.customer.name : undefined);
    const input = omitUndefined({ order, firstName, deliverer, at: time });
    const render = (options: RenderOptions) => renderOrder(event, input, languageOf(person), options);
    const { orderId } = order;
    const notification = { messageId: id, addressee: userId, userId, orderId, event: type };
    outgoing.push({
      ...personalNotification(notification, render, overrides, person, {
        event,
        orderId,
        order: contentOf(order),
      }),
      ...(usesBothChannels(event) && { bothChannels: true }),
      ...(isDeferrable(event) && { deferrable: { orderVersion: order.version } }),
    });
  }
  return outgoing;
}

/** The notifications that a courier is near the partner, to its staff, or near the customer. */
export async function nearNotifications(
  db: Db,
  overrides: TemplateOverrideLookup,
  { id, data }: Message<"courier.near">,
): Promise<OutgoingNotification[]> {
  const { place, orderId, delivererId, customer, partnerId } = data;
  const isAtPartner = place === "pickup";
  const wanted = isAtPartner ? [delivererId] : [delivererId, customer.id];
  const { people, staff } = await recipientsWithStaff(db, wanted, isAtPartner ? partnerId : undefined);
  const event = isAtPartner ? "courier.near:partner" : "courier.near:customer";
  const input = { ...data, deliverer: people.get(delivererId)?.firstName };
  return (isAtPartner ? staff : [customer.id]).flatMap((userId) => {
    const person = people.get(userId);
    if (!person) return [];
    const render = (options: RenderOptions) =>
      renderNear(event, input, person.firstName, person.language, options);
    const notification = { messageId: id, addressee: userId, userId, orderId, event: "courier.near" };
    return [personalNotification(notification, render, overrides, person, { event, orderId })];
  });
}

/** A reminder to each of the partner's staff. */
export async function reminderNotifications(
  db: Db,
  overrides: TemplateOverrideLookup,
  { messageId, orderId, reminder }: { messageId: string; orderId: string; reminder: Reminder },
  nowMs: number,
): Promise<OutgoingNotification[]> {
  const { people, staff } = await recipientsWithStaff(db, [], reminder.partnerId);
  const input = { ...reminder, minutesLeft: minutesLeft(nowMs, Date.parse(reminder.acceptUntil)) };
  const details = { event: "order.unanswered:partner", orderId } as const;
  return staff.flatMap((userId) => {
    const person = people.get(userId);
    if (!person) return [];
    const render = (options: RenderOptions) =>
      renderReminder(input, person.firstName, person.language, options);
    const notification = { messageId, addressee: userId, userId, orderId, event: "order.unanswered" };
    return [
      {
        ...personalNotification(notification, render, overrides, person, details),
        bothChannels: true as const,
      },
    ];
  });
}

/** The notification to the customer that the money is on its way back. @throws Error while the order is not known */
export async function refundNotifications(
  db: Db,
  overrides: TemplateOverrideLookup,
  { id, data }: Message<"refund.completed">,
): Promise<OutgoingNotification[]> {
  const userId = await customerOf(db, data.orderId);
  if (!userId) throw new Error("nothing is known of the order yet");
  const person = (await recipientsOf(db, [userId])).get(userId);
  if (!person && (await isErased(db, userId))) return [];
  const render = (options: RenderOptions) =>
    renderRefund(data, person?.firstName, languageOf(person), options);
  const notification = {
    messageId: id,
    addressee: userId,
    userId,
    orderId: data.orderId,
    event: "refund.completed",
  };
  const details = { event: "refund.completed:customer", orderId: data.orderId } as const;
  const personal = personalNotification(notification, render, overrides, person, details);
  return [isDeferrable("refund.completed:customer") ? { ...personal, deferrable: {} } : personal];
}

/** One notification for each operator whom the alert concerns. Repeated alerts have the same message id, see `alertIdOf`. */
export async function alertNotifications(
  db: Db,
  overrides: TemplateOverrideLookup,
  message: Message<"alert.raised">,
): Promise<OutgoingNotification[]> {
  const { data } = message;
  const operators = await listOperators(db, alertAudience(data.kind));
  const messageId = alertIdOf(message);
  const { bothChannels, deferrable } = alertUrgency(data.kind);
  return operators.map((operator) => ({
    ...personalNotification(
      { messageId, addressee: operator.userId, userId: operator.userId, event: "alert.raised" },
      (options) => renderAlert(data, operator.firstName, operator.language, options),
      overrides,
      operator,
      { event: "alert.raised:admin", alert: { kind: data.kind, subject: data.subject } },
    ),
    ...(bothChannels && { bothChannels: true as const }),
    ...(deferrable && { deferrable: {} }),
  }));
}

/** A notification by push and, if the address is known, by mail. Each channel has its own text. */
function personalNotification(
  notification: Omit<NewNotification, "title" | "body">,
  render: (options: RenderOptions) => RenderedText,
  overrides: TemplateOverrideLookup,
  person: Recipient | undefined,
  details: MailDetails,
): OutgoingNotification {
  const { title, body } = render({ channel: "push", overrides });
  const mailText = { ...render({ channel: "email", overrides }), details };
  const outgoing = { notification: { ...notification, title, body }, mailText };
  return person ? { ...outgoing, recipient: person } : outgoing;
}

/** The details of an order that mails list. */
function contentOf({ number, lines, fee, total }: OrderSnapshot): OrderDetails {
  return {
    ...{ number, fee, total },
    lines: lines.map(({ title, quantity, unitPrice }) => ({ title, quantity, unitPrice })),
  };
}

function languageOf(person: Recipient | undefined): string {
  return person?.language ?? DEFAULT_LANGUAGE;
}

/**
 * A mail that a user's own action caused, for example with a code.
 * @throws TemplateError, which is permanent; DecryptionError, which may end when the change of the secret is complete
 */
export function directNotification(
  { keys, mailDesign }: { keys: EncryptionKeys; mailDesign: MailDesign },
  overrides: TemplateOverrideLookup,
  { id, data }: Message<"notification.requested">,
): OutgoingNotification {
  const { summary, ...mail } = rendered({ ...data, values: valuesOf(keys, data) }, mailDesign, overrides);
  return {
    notification: {
      messageId: id,
      addressee: "address",
      userId: data.userId,
      event: data.template,
      ...summary,
    },
    mail: { to: data.email, ...mail },
    mailOnly: true,
  };
}

type Requested = Message<"notification.requested">["data"];

function valuesOf(keys: EncryptionKeys, { values, sealed, ...about }: Requested): Record<string, string> {
  if (sealed === undefined) return values;
  return {
    ...values,
    ...(JSON.parse(decrypt(sealed, keys, mailAad(about))) as Record<string, string>),
  };
}

function rendered(requested: DirectInput, design: MailDesign, overrides: TemplateOverrideLookup) {
  try {
    return renderDirect(requested, design, overrides);
  } catch (error) {
    (error as HandlerError).permanent = true;
    throw error;
  }
}
