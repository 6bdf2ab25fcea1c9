import * as banks from "../../../contracts/banks.ts";
import * as catalogue from "../../../contracts/catalogue.ts";
import * as couriers from "../../../contracts/couriers.ts";
import * as exports from "../../../contracts/exports.ts";
import * as identity from "../../../contracts/identity.ts";
import * as notifications from "../../../contracts/notifications.ts";
import * as orders from "../../../contracts/orders.ts";
import * as partners from "../../../contracts/partners.ts";
import * as payments from "../../../contracts/payments.ts";
import { type Props, storedMoney } from "../../../contracts/schema.ts";
import { address, givenAddress, position } from "../../../contracts/shared.ts";
import * as streams from "../../../contracts/streams.ts";
import * as templates from "../../../contracts/templates.ts";
import {
  bankReports,
  partnerCallbacks,
  partnerWebhooks,
  stripeReport,
  webhookLine,
} from "../../../contracts/webhooks.ts";
import { sentProps, wireProps } from "../pipeline/codec.ts";

const named: Record<string, { readonly props: Props }> = {
  Address: address,
  AlertEvent: streams.alertEvent,
  DutyEvent: streams.dutyEvent,
  OrderMove: streams.orderMove,
  PoolMove: streams.poolMove,
  OfferMove: streams.offerMove,
  VanishedOrder: streams.vanishedOrder,
  StreamReload: streams.reload,
  Agent: notifications.agent,
  Attempt: notifications.attempt,
  AuditEntry: identity.auditEntry,
  Availability: catalogue.availability,
  Bank: banks.bank,
  Confirmation: orders.confirmation,
  Courier: couriers.courier,
  Device: notifications.device,
  Diagnosis: orders.diagnosis,
  Dispute: payments.dispute,
  ExportFile: exports.exportFile,
  ExportedData: exports.exportedData,
  ExportStatus: exports.exportStatus,
  HistoryEvent: orders.historyEvent,
  Hours: partners.hours,
  Money: storedMoney,
  Notification: notifications.notification,
  NotificationPreferences: notifications.preferences,
  Offer: catalogue.offer,
  Order: orders.order,
  OrderCustomer: orders.orderCustomer,
  OrderEvent: orders.orderEvent,
  OrderPosition: orders.orderPosition,
  OrderLine: partners.quotedLine,
  OrderPartner: partners.partnerSnapshot,
  OwnTemplate: templates.ownTemplate,
  Partner: partners.partner,
  PoolEntry: orders.poolEntry,
  Position: position,
  Product: catalogue.product,
  Profile: identity.profile,
  Quote: partners.quote,
  Refund: payments.refund,
  Rejection: orders.rejection,
  Session: identity.session,
  Template: templates.template,
  Tokens: identity.tokens,
  Tracking: orders.tracking,
  UnmatchedPayment: payments.unmatchedPayment,
  WantedLine: partners.requestedLine,
  WebhookDelivery: partners.webhookDelivery,
  WebhookEndpoint: partners.webhookEndpoint,
};

/** Schemas of requests: optional fields may be null, unlike in answers. */
const sent: Record<string, { readonly props: Props }> = {
  GivenAddress: givenAddress,
  PushToken: identity.pushToken,
};

/** Bodies between the platform and the systems of partners and banks, in the names of the wire already. */
const wired: Record<string, { readonly props: Props }> = {
  ...namedReports("Webhook", partnerWebhooks),
  ...namedReports("Callback", partnerCallbacks),
  ...namedReports("Report", bankReports),
  ReportStripe: stripeReport,
  WebhookLine: webhookLine,
  WebhookOrder: partnerWebhooks["order.cancelled"].props.data,
};

/** `order.paid` is `WebhookOrderPaid`. */
function namedReports(prefix: string, rules: Readonly<Record<string, { readonly props: Props }>>) {
  const nameOf = (type: string) =>
    type
      .split(".")
      .map((word) => word.charAt(0).toUpperCase() + word.slice(1))
      .join("");
  return Object.fromEntries(Object.entries(rules).map(([type, rule]) => [prefix + nameOf(type), rule]));
}

/** Later releases may add fields to these. */
export const extensible: ReadonlySet<Props> = new Set(
  Object.values(wired)
    .filter((rule) => "strict" in rule && rule.strict === "remove")
    .map(({ props }) => props),
);

/** The named schemas of the OpenAPI document, as the client sees them. */
export const schemaNames: ReadonlyMap<Props, string> = new Map([
  ...Object.entries(named).map(([name, { props }]) => [wireProps(props), name] as const),
  ...Object.entries(wired).map(([name, { props }]) => [props, name] as const),
  ...Object.entries(sent).map(([name, { props }]) => [sentProps(wireProps(props)), name] as const),
]);
