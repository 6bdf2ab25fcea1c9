import type { Language } from "./catalogue.ts";

const number = "[[ Order {{number}}.]]";
const reason = "[[ Reason: {{reason}}]]";
const readyIn =
  "[[ It should be ready in about {{ready_in_minutes}} {{ready_in_minutes: one minute | other minutes}}.]]";
const acceptIn = "{{accept_in_minutes}} {{accept_in_minutes: one minute | other minutes}}";
const refund = "[[ You get {{refund}} back.]]";
const refundNext =
  "[[The refund of {{refund}} goes back the way you paid. Your bank may take some days to show it.]]";
const validFor = "[[It is valid for {{minutes}} {{minutes: one minute | other minutes}}.]]";
const ignoreHint = "If this was not you, you need not do anything.";

export const en: Language = {
  texts: {
    "order.paid:customer": {
      title: "Payment received",
      body: `{{total}} for your order from {{partner}} arrived. The partner has been told.${number}`,
      next: "{{partner}} accepts or declines the order now. Until it is accepted you can cancel it. If it is not accepted in time, you get your money back.",
    },
    "order.paid:partner": {
      title: "New order",
      body: `{{partner}} has a new order for {{total}}. Accept or reject it within ${acceptIn}.${number}`,
      next: "An order that is not accepted in time is cancelled, and the customer gets the money back.",
    },
    "order.unanswered:partner": {
      title: "An order still waits",
      body: `No member of {{partner}} has accepted the order for {{total}} yet. It will be cancelled in about ${acceptIn}.${number}`,
    },
    "order.accepted:customer": {
      title: "{{partner}} is preparing your order",
      body: `Your order was accepted.${readyIn}${number}`,
      next: "When it is ready, a courier collects it and brings it to you.",
    },
    "order.rejected:customer": {
      title: "Your order was declined",
      body: `{{partner}} cannot prepare it.${reason}${refund}${number}`,
      next: refundNext,
    },
    "order.ready:customer": {
      title: "Your order is ready",
      body: `{{partner}} has packed it. A courier will collect it shortly.${number}`,
      next: "At the door the courier asks you for your PIN.",
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
      next: "Without the PIN the courier cannot hand the order over.",
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
      next: "You need not do anything. You get a message when it is on its way.",
    },
    "order.delivered:customer": {
      title: "Delivered",
      body: `Enjoy it, {{first_name}}! Your order from {{partner}} was handed over.${number}`,
    },
    "order.failed:customer": {
      title: "Your order could not be delivered",
      body: `The order from {{partner}} did not reach you.${reason}${number}`,
      next: "An operator decides whether the order is brought again or you get your money back. You get a message then.",
    },
    "order.cancelled:customer": {
      title: "Your order was cancelled",
      body: `The order from {{partner}} will not come.${reason}${refund}${number}`,
      next: refundNext,
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
      body: `Welcome to {{brand}}. Enter this code to confirm your e-mail address:\n\n{{code}}\n\n${validFor}\n\n${ignoreHint}`,
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
      body: "Your account now uses another e-mail address. This one is no longer connected to it.\n\n[[If this was not you, open this page within {{days}} {{days: one day | other days}}. It gives your account this address back, ends all its sessions and sets a new password:]]\n\n[[{{link}}]]",
    },
    invitation: {
      title: "You are invited to {{brand}}",
      body: "You were invited to work with {{brand}}.[[ Your role: {{role}}.]]\n\nOpen the page below, enter your name and choose a password. If you have an account with this e-mail address, enter its password: the account gets the role.\n\nIf you are asked for the token of the invitation, it is this one:\n\n{{token}}\n\n[[The invitation is valid for {{days}} {{days: one day | other days}}.]]\n\nIf you do not know why you get this, you need not do anything.",
    },
    "webhook-disabled": {
      title: "{{partner}} takes no orders",
      body: "Your system at {{address}} answered that it is gone for good (410). {{brand}} no longer calls it, and {{partner}} takes no orders.\n\nOrders that were paid before wait for their deadline: accept or reject them by hand.\n\nSet the webhook again, or disable it if you want to take orders by hand. What waits is sent then.",
    },
  },
  rejections: {
    out_of_stock: "Something is sold out",
    too_busy: "There are too many orders at the moment",
    closing: "It is closing time",
    wish_not_possible: "Your wish is not possible",
  },
  roles: {
    deliverer: "courier",
    partner: "staff of a partner",
    support: "support",
    finance: "finance",
    admin: "admin",
  },
  mail: {
    greeting: (firstName) => (firstName ? `Hello ${firstName},` : "Hello,"),
    footer: {
      notification: (brand) =>
        `${brand} sent you this. Which news you get by mail is up to you, in your notification settings.`,
      direct: (brand) => `${brand} sent this mail because somebody used your e-mail address there.`,
    },
    links: {
      order: "See the order",
      work: "Open the order",
      confirmEmail: "Confirm the address",
      signIn: "Sign in",
      newPassword: "Set a new password",
      undo: "Undo the change",
      acceptInvitation: "Accept the invitation",
      webhook: "Open the settings",
      alert: "See the alert",
      preferences: "Notification settings",
    },
    order: (number) => (number ? `Order ${number}` : "Order"),
    fee: "Delivery",
    total: "Total",
    moreProducts: { one: "more product", other: "more products" },
    pin: "Your PIN",
  },
  byMailOnly: "Sent by e-mail only.",
};
