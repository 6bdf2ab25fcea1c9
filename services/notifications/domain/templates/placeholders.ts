import { directTemplates, type TemplateChannel, type TemplateEvent } from "./catalogue.ts";

/** A value that a template can use. */
export interface Placeholder {
  readonly name: string;
  readonly about: string;
  /** The value in previews. */
  readonly example: string;
  readonly optional?: true;
  /** Only the receiver of the mail may see it. Not permitted in titles, which the history stores. */
  readonly secret?: true;
  /** The body must contain it. */
  readonly required?: true;
}

const firstName = { name: "first_name", about: "the reader's first name", example: "Ada" };
const maybeFirstName = { ...firstName, optional: true } as const;
const partner = { name: "partner", about: "the partner's title", example: "Café Central" };
const total = { name: "total", about: "what the order costs", example: "€24.50" };
const reason = {
  name: "reason",
  about: "why it happened, as a sentence with its full stop",
  example: "No bread left.",
  optional: true,
} as const;
const readyIn = {
  name: "ready_in_minutes",
  about: "in how many minutes the partner expects to be ready",
  example: "15",
  optional: true,
} as const;
const deliverer = {
  name: "deliverer",
  about: "the courier's first name",
  example: "Dora",
  optional: true,
} as const;
const refund = {
  name: "refund",
  about: "what of the payment goes back",
  example: "€24.50",
  optional: true,
} as const;
const pickup = { name: "pickup", about: "where to collect it", example: "Marktgasse 1, Bern" };
const destination = {
  name: "destination",
  about: "postal code and town where to bring it",
  example: "3011 Bern",
};
const code = {
  name: "code",
  about: "the code that is asked for",
  example: "482913",
  secret: true,
  required: true,
} as const;
const brand = { name: "brand", about: "the name of this platform (`MAIL_BRAND_NAME`)", example: "Waybill" };
const token = {
  name: "token",
  about: "the invitation's token",
  example: "0d3a5da4-6df2-4efc-8259-6b9de1b73aa8",
  secret: true,
  required: true,
} as const;
const minutes = {
  name: "minutes",
  about: "for how many minutes the code is valid",
  example: "15",
  optional: true,
} as const;
const invitedRole = {
  name: "role",
  about: "what the user is invited as",
  example: "courier",
  optional: true,
} as const;
const invitationDays = {
  name: "days",
  about: "for how many days the invitation is valid",
  example: "7",
  optional: true,
} as const;

const undoLink = {
  name: "link",
  about: "the page that undoes it",
  example: "https://waybill.example/email/undo#0d3a5da4",
  secret: true,
  optional: true,
} as const;
const undoDays = {
  name: "days",
  about: "for how many days it can be undone",
  example: "7",
  optional: true,
} as const;

const number = {
  name: "number",
  about: "the order's short number",
  example: "K7-042",
  optional: true,
} as const;
const toCustomer = [partner, number, total, firstName];
const toStaff = [partner, number, total, maybeFirstName];
const acceptIn = {
  name: "accept_in_minutes",
  about: "in how many minutes the order must be accepted",
  example: "10",
};
const toDeliverer = [partner, number, pickup, destination, maybeFirstName];

/** The placeholders of each event, for built-in templates and overrides. */
export const placeholdersByEvent: Readonly<Record<TemplateEvent, readonly Placeholder[]>> = {
  "order.paid:customer": toCustomer,
  "order.paid:partner": [...toStaff, acceptIn],
  "order.unanswered:partner": [...toStaff, acceptIn],
  "order.accepted:customer": [...toCustomer, readyIn],
  "order.rejected:customer": [...toCustomer, reason, refund],
  "order.ready:customer": toCustomer,
  "order.ready:deliverer": toDeliverer,
  "courier.near:partner": [partner, number, deliverer, maybeFirstName],
  "courier.near:customer": [partner, number, deliverer, maybeFirstName],
  "order.delayed:customer": [...toCustomer, readyIn, reason],
  "order.delayed:deliverer": [...toDeliverer, readyIn],
  "order.assigned:customer": [...toCustomer, deliverer],
  "order.offered:deliverer": toDeliverer,
  "order.assigned:deliverer": toDeliverer,
  "order.assigned:partner": [...toStaff, deliverer],
  "order.released:customer": toCustomer,
  "order.released:deliverer": [...toDeliverer, reason],
  "order.delivered:customer": toCustomer,
  "order.failed:customer": [...toCustomer, reason],
  "order.cancelled:customer": [...toCustomer, reason, refund],
  "order.cancelled:deliverer": [...toDeliverer, reason],
  "order.cancelled:partner": [...toStaff, reason],
  "order.expired:customer": toCustomer,
  "refund.completed:customer": [
    { name: "amount", about: "what was given back", example: "€24.50" },
    number,
    maybeFirstName,
  ],
  "alert.raised:admin": [
    { name: "kind", about: "what kind of alert it is", example: "refund.failed" },
    {
      name: "subject",
      about: "the id of what it is about",
      example: "0198c0de-0000-7000-8000-000000000005",
    },
    {
      name: "detail",
      about: "what happened, as a sentence with its full stop",
      example: "The bank refused it.",
    },
    firstName,
  ],
  "confirm-email": [code, minutes, brand, maybeFirstName],
  "account-exists": [brand, maybeFirstName],
  "reset-password": [code, minutes, brand, maybeFirstName],
  "password-changed": [brand, maybeFirstName],
  "change-email": [code, minutes, brand, maybeFirstName],
  "email-changed": [undoLink, undoDays, brand, maybeFirstName],
  invitation: [token, invitedRole, invitationDays, brand, maybeFirstName],
  "webhook-disabled": [
    partner,
    brand,
    { name: "address", about: "the host of the partner's system", example: "shop.example" },
    maybeFirstName,
  ],
};

/** The channels of an event. Answers to the user's own action are sent by mail only. */
export function channelsOf(event: TemplateEvent): readonly TemplateChannel[] {
  return (directTemplates as readonly string[]).includes(event) ? ["email"] : ["push", "email"];
}
