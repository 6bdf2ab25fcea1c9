import { type Language, minutesBetween, type OrderNews, sentence } from "./catalogue.ts";

const because = ({ order }: OrderNews) => (order.reason ? ` Reason: ${sentence(order.reason)}` : "");
const courier = ({ deliverer }: OrderNews) => deliverer ?? "A courier";
const readyIn = ({ order, at }: OrderNews) => {
  const minutes = order.readyAt && order.readyAt > at ? minutesBetween(at, order.readyAt) : undefined;
  return minutes === undefined ? "" : ` It should be ready in about ${minutes} min.`;
};
const refundOf = ({ order }: OrderNews) =>
  order.paid.amountMinor > order.refunded.amountMinor ? " What you paid goes back to you." : "";
const validFor = (minutes: string | undefined) => (minutes ? `It is valid for ${minutes} minutes.` : "");
const notYou = "If this was not you, you need not do anything.";

export const en: Language = {
  orders: {
    "order.paid:customer": ({ order }, { money }) => ({
      title: "Payment received",
      body: `${money(order.total)} for your order from ${order.partnerTitle} arrived. The partner has been told.`,
    }),
    "order.accepted:customer": (news) => ({
      title: `${news.order.partnerTitle} is preparing your order`,
      body: `Your order was accepted.${readyIn(news)}`,
    }),
    "order.rejected:customer": (news) => ({
      title: "Your order was declined",
      body: `${news.order.partnerTitle} cannot prepare it.${because(news)}${refundOf(news)}`,
    }),
    "order.ready:customer": ({ order }) => ({
      title: "Your order is ready",
      body: `${order.partnerTitle} has packed it. A courier will collect it shortly.`,
    }),
    "order.delayed:customer": (news) => ({
      title: "Your order takes longer",
      body: `${news.order.partnerTitle} needs more time.${readyIn(news)}${because(news)}`,
    }),
    "order.delayed:deliverer": (news) => ({
      title: "An order of yours takes longer",
      body: `${news.order.partnerTitle} needs more time.${readyIn(news)}`,
    }),
    "order.assigned:customer": (news) => ({
      title: "Your order is on its way",
      body: `${courier(news)} brings your order from ${news.order.partnerTitle}. Tell your PIN only at the door.`,
    }),
    "order.assigned:deliverer": ({ order }) => ({
      title: "The delivery is yours",
      body: `Collect at ${order.partnerTitle}, ${order.pickup.line1}, ${order.pickup.city}. Deliver to ${order.address.line1}, ${order.address.city}.`,
    }),
    "order.released:customer": ({ order }) => ({
      title: "We are looking for another courier",
      body: `Your order from ${order.partnerTitle} is ready and waits for the next courier.`,
    }),
    "order.delivered:customer": ({ order, customer }) => ({
      title: "Delivered",
      body: `Enjoy it, ${customer}! Your order from ${order.partnerTitle} was handed over.`,
    }),
    "order.failed:customer": (news) => ({
      title: "Your order could not be delivered",
      body: `The order from ${news.order.partnerTitle} did not reach you.${because(news)}`,
    }),
    "order.cancelled:customer": (news) => ({
      title: "Your order was cancelled",
      body: `The order from ${news.order.partnerTitle} will not come.${because(news)}${refundOf(news)}`,
    }),
    "order.cancelled:deliverer": (news) => ({
      title: "A delivery was cancelled",
      body: `The order from ${news.order.partnerTitle} is no longer to be delivered.${because(news)}`,
    }),
    "order.expired:customer": ({ order }) => ({
      title: "Your order has expired",
      body: `The order from ${order.partnerTitle} was not paid in time. You can order again at any moment.`,
    }),
  },
  direct: {
    "confirm-email": (values) => ({
      title: "Confirm your e-mail address",
      paragraphs: ["Welcome to Waybill. Enter this code to confirm your e-mail address:"],
      code: values.need("code"),
      closing: [validFor(values.get("minutes")), notYou],
    }),
    "account-exists": () => ({
      title: "You already have an account",
      paragraphs: [
        "Somebody tried to sign up with your e-mail address, which already has an account.",
        "Sign in with it; if you forgot the password, ask for a new one there.",
        notYou,
      ],
    }),
    "reset-password": (values) => ({
      title: "Set a new password",
      paragraphs: ["Enter this code to set a new password:"],
      code: values.need("code"),
      closing: [validFor(values.get("minutes")), notYou],
    }),
    "password-changed": () => ({
      title: "Your password was changed",
      paragraphs: [
        "The password of your account was changed a moment ago, and every other session was ended.",
        "If this was not you, set a new password now.",
      ],
    }),
    "change-email": (values) => ({
      title: "Confirm your new e-mail address",
      paragraphs: ["Enter this code to use this address from now on:"],
      code: values.need("code"),
      closing: [validFor(values.get("minutes")), notYou],
    }),
    "email-changed": () => ({
      title: "Your e-mail address was changed",
      paragraphs: [
        "Your account now uses another e-mail address. This one is no longer connected to it.",
        "If this was not you, write to the operator at once.",
      ],
    }),
    invitation: (values) => ({
      title: "You are invited to Waybill",
      paragraphs: ["You were invited to work with Waybill. Accept with this token:"],
      code: values.need("token"),
      closing: ["If you do not know why, you need not do anything."],
    }),
  },
  refunded: (amount, { money }) => ({
    title: "Your money is on its way back",
    body: `You get ${money(amount)} back. Your bank may take some days to show it.`,
  }),
  alert: ({ kind, subject, detail }) => ({
    title: `Alert: ${kind}`,
    body: `${detail} It concerns ${subject}.`,
  }),
  mail: {
    greeting: (firstName) => (firstName ? `Hello ${firstName},` : "Hello,"),
    footer: {
      news: "Waybill sent you this. Which news you get by mail is up to you, in your notification settings.",
      direct: "Waybill sent this mail because somebody used your e-mail address there.",
    },
  },
  byMailOnly: "Sent by e-mail only.",
};
