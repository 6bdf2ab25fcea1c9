import type { Language } from "./catalogue.ts";

const number = "[[ Order {{number}}.]]";
const reason = "[[ Reason: {{reason}}]]";
const readyIn = "[[ It should be ready in about {{ready_in_minutes}} min.]]";
const refund = "[[ You get {{refund}} back.]]";
const validFor = "[[It is valid for {{minutes}} minutes.]]";
const ignoreHint = "If this was not you, you need not do anything.";

export const en: Language = {
  texts: {
    "order.paid:customer": {
      title: "Payment received",
      body: `{{total}} for your order from {{partner}} arrived. The partner has been told.${number}`,
    },
    "order.paid:partner": {
      title: "New order",
      body: `{{partner}} has a new order for {{total}}. Accept or reject it within {{accept_in_minutes}} min.${number}`,
    },
    "order.unanswered:partner": {
      title: "An order still waits",
      body: `No member of {{partner}} has accepted the order for {{total}} yet. It will be cancelled in about {{accept_in_minutes}} min.${number}`,
    },
    "order.accepted:customer": {
      title: "{{partner}} is preparing your order",
      body: `Your order was accepted.${readyIn}${number}`,
    },
    "order.rejected:customer": {
      title: "Your order was declined",
      body: `{{partner}} cannot prepare it.${reason}${refund}${number}`,
    },
    "order.ready:customer": {
      title: "Your order is ready",
      body: `{{partner}} has packed it. A courier will collect it shortly.${number}`,
    },
    "order.ready:deliverer": {
      title: "An order near you is ready",
      body: `Collect at {{partner}}, {{pickup}}. Deliver to {{destination}}. The first courier who takes it gets it.${number}`,
    },
    "courier.near:partner": {
      title: "The courier is near",
      body: `{{deliverer|The courier}} will be at {{partner}} in a moment.${number}`,
    },
    "courier.near:customer": {
      title: "Your courier is near",
      body: `{{deliverer|The courier}} will bring your order from {{partner}} in a moment. Have your PIN ready.${number}`,
    },
    "order.delayed:customer": {
      title: "Your order takes longer",
      body: `{{partner}} needs more time.${readyIn}${reason}${number}`,
    },
    "order.delayed:deliverer": {
      title: "An order of yours takes longer",
      body: `{{partner}} needs more time.${readyIn}${number}`,
    },
    "order.assigned:customer": {
      title: "Your order is on its way",
      body: `{{deliverer|A courier}} brings your order from {{partner}}. Tell your PIN only at the door.${number}`,
    },
    "order.offered:deliverer": {
      title: "An order for you",
      body: `Collect at {{partner}}, {{pickup}}. Deliver to {{destination}}. Take or decline it now.${number}`,
    },
    "order.assigned:deliverer": {
      title: "The delivery is yours",
      body: `Collect at {{partner}}, {{pickup}}. Deliver to {{destination}}.${number}`,
    },
    "order.assigned:partner": {
      title: "A courier comes",
      body: `{{deliverer|A courier}} collects the order at {{partner}}.${number}`,
    },
    "order.released:deliverer": {
      title: "A delivery is no longer yours",
      body: `The order from {{partner}} was taken from you.${reason}${number}`,
    },
    "order.released:customer": {
      title: "We are looking for another courier",
      body: `Your order from {{partner}} is ready and waits for the next courier.${number}`,
    },
    "order.delivered:customer": {
      title: "Delivered",
      body: `Enjoy it, {{first_name}}! Your order from {{partner}} was handed over.${number}`,
    },
    "order.failed:customer": {
      title: "Your order could not be delivered",
      body: `The order from {{partner}} did not reach you.${reason}${number}`,
    },
    "order.cancelled:customer": {
      title: "Your order was cancelled",
      body: `The order from {{partner}} will not come.${reason}${refund}${number}`,
    },
    "order.cancelled:deliverer": {
      title: "A delivery was cancelled",
      body: `The order from {{partner}} is no longer to be delivered.${reason}${number}`,
    },
    "order.cancelled:partner": {
      title: "An order was cancelled",
      body: `{{partner}} need not prepare it any more.${reason}${number}`,
    },
    "order.expired:customer": {
      title: "Your order has expired",
      body: `The order from {{partner}} was not paid in time. You can order again at any moment.${number}`,
    },
    "refund.completed:customer": {
      title: "Your money is on its way back",
      body: `You get {{amount}} back. Your bank may take some days to show it.${number}`,
    },
    "alert.raised:admin": {
      title: "Alert: {{kind}}",
      body: "{{detail}} It concerns {{subject}}.",
    },
    "confirm-email": {
      title: "Confirm your e-mail address",
      body: `Welcome to Waybill. Enter this code to confirm your e-mail address:\n\n{{code}}\n\n${validFor}\n\n${ignoreHint}`,
    },
    "account-exists": {
      title: "You already have an account",
      body: `Somebody tried to sign up with your e-mail address, which already has an account.\n\nSign in with it; if you forgot the password, ask for a new one there.\n\n${ignoreHint}`,
    },
    "reset-password": {
      title: "Set a new password",
      body: `Enter this code to set a new password:\n\n{{code}}\n\n${validFor}\n\n${ignoreHint}`,
    },
    "password-changed": {
      title: "Your password was changed",
      body: "The password of your account was changed a moment ago, and every other session was ended.\n\nIf this was not you, set a new password now.",
    },
    "change-email": {
      title: "Confirm your new e-mail address",
      body: `Enter this code to use this address from now on:\n\n{{code}}\n\n${validFor}\n\n${ignoreHint}`,
    },
    "email-changed": {
      title: "Your e-mail address was changed",
      body: "Your account now uses another e-mail address. This one is no longer connected to it.\n\n[[If this was not you, open this page within {{days}} days. It gives your account this address back, ends all its sessions and sets a new password:]]\n\n[[{{link}}]]",
    },
    invitation: {
      title: "You are invited to Waybill",
      body: "You were invited to work with Waybill. Accept with this token:\n\n{{token}}\n\nIf you do not know why, you need not do anything.",
    },
    "webhook-disabled": {
      title: "{{partner}} takes no orders",
      body: "Your system at {{address}} answered that it is gone for good (410). Waybill no longer calls it, and {{partner}} takes no orders.\n\nOrders that were paid before wait for their deadline: accept or reject them by hand.\n\nSet the webhook again, or disable it if you want to take orders by hand. What waits is sent then.",
    },
  },
  rejections: {
    out_of_stock: "Something is sold out",
    too_busy: "There are too many orders at the moment",
    closing: "It is closing time",
    wish_not_possible: "Your wish is not possible",
  },
  mail: {
    greeting: (firstName) => (firstName ? `Hello ${firstName},` : "Hello,"),
    footer: {
      notification:
        "Waybill sent you this. Which news you get by mail is up to you, in your notification settings.",
      direct: "Waybill sent this mail because somebody used your e-mail address there.",
    },
  },
  byMailOnly: "Sent by e-mail only.",
};
