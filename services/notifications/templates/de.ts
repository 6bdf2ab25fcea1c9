import { type Language, minutesBetween, type OrderNews, sentence } from "./catalogue.ts";

const because = ({ order }: OrderNews) => (order.reason ? ` Grund: ${sentence(order.reason)}` : "");
const courier = ({ deliverer }: OrderNews) => deliverer ?? "Ein Kurier";
const readyIn = ({ order, at }: OrderNews) => {
  const minutes = order.readyAt && order.readyAt > at ? minutesBetween(at, order.readyAt) : undefined;
  return minutes === undefined ? "" : ` Voraussichtlich fertig in etwa ${minutes} Min.`;
};
const refundOf = ({ order }: OrderNews) =>
  order.paid.amountMinor > order.refunded.amountMinor ? " Ihre Zahlung wird erstattet." : "";
const validFor = (minutes: string | undefined) => (minutes ? `Er gilt ${minutes} Minuten.` : "");
const notYou = "Wenn Sie das nicht waren, müssen Sie nichts tun.";

export const de: Language = {
  orders: {
    "order.paid:customer": ({ order }, { money }) => ({
      title: "Zahlung eingegangen",
      body: `${money(order.total)} für Ihre Bestellung bei ${order.partnerTitle} sind da. Der Partner weiß Bescheid.`,
    }),
    "order.accepted:customer": (news) => ({
      title: `${news.order.partnerTitle} bereitet Ihre Bestellung zu`,
      body: `Ihre Bestellung wurde angenommen.${readyIn(news)}`,
    }),
    "order.rejected:customer": (news) => ({
      title: "Ihre Bestellung wurde abgelehnt",
      body: `${news.order.partnerTitle} kann sie nicht zubereiten.${because(news)}${refundOf(news)}`,
    }),
    "order.ready:customer": ({ order }) => ({
      title: "Ihre Bestellung ist fertig",
      body: `${order.partnerTitle} hat sie eingepackt. Ein Kurier holt sie in Kürze ab.`,
    }),
    "order.delayed:customer": (news) => ({
      title: "Ihre Bestellung dauert länger",
      body: `${news.order.partnerTitle} braucht mehr Zeit.${readyIn(news)}${because(news)}`,
    }),
    "order.delayed:deliverer": (news) => ({
      title: "Eine Ihrer Lieferungen dauert länger",
      body: `${news.order.partnerTitle} braucht mehr Zeit.${readyIn(news)}`,
    }),
    "order.assigned:customer": (news) => ({
      title: "Ihre Bestellung ist unterwegs",
      body: `${courier(news)} bringt Ihre Bestellung von ${news.order.partnerTitle}. Nennen Sie Ihre PIN erst an der Tür.`,
    }),
    "order.assigned:deliverer": ({ order }) => ({
      title: "Die Lieferung gehört Ihnen",
      body: `Abholen bei ${order.partnerTitle}, ${order.pickup.line1}, ${order.pickup.city}. Bringen nach ${order.address.line1}, ${order.address.city}.`,
    }),
    "order.released:customer": ({ order }) => ({
      title: "Wir suchen einen anderen Kurier",
      body: `Ihre Bestellung von ${order.partnerTitle} ist fertig und wartet auf den nächsten Kurier.`,
    }),
    "order.delivered:customer": ({ order, customer }) => ({
      title: "Zugestellt",
      body: `Guten Appetit und viel Freude, ${customer}! Ihre Bestellung von ${order.partnerTitle} wurde übergeben.`,
    }),
    "order.failed:customer": (news) => ({
      title: "Ihre Bestellung konnte nicht zugestellt werden",
      body: `Die Bestellung von ${news.order.partnerTitle} hat Sie nicht erreicht.${because(news)}`,
    }),
    "order.cancelled:customer": (news) => ({
      title: "Ihre Bestellung wurde storniert",
      body: `Die Bestellung von ${news.order.partnerTitle} kommt nicht.${because(news)}${refundOf(news)}`,
    }),
    "order.cancelled:deliverer": (news) => ({
      title: "Eine Lieferung wurde storniert",
      body: `Die Bestellung von ${news.order.partnerTitle} muss nicht mehr zugestellt werden.${because(news)}`,
    }),
    "order.expired:customer": ({ order }) => ({
      title: "Ihre Bestellung ist verfallen",
      body: `Die Bestellung von ${order.partnerTitle} wurde nicht rechtzeitig bezahlt. Sie können jederzeit neu bestellen.`,
    }),
  },
  direct: {
    "confirm-email": (values) => ({
      title: "Bestätigen Sie Ihre E-Mail-Adresse",
      paragraphs: ["Willkommen bei Waybill. Mit diesem Code bestätigen Sie Ihre E-Mail-Adresse:"],
      code: values.need("code"),
      closing: [validFor(values.get("minutes")), notYou],
    }),
    "account-exists": () => ({
      title: "Sie haben bereits ein Konto",
      paragraphs: [
        "Jemand wollte sich mit Ihrer E-Mail-Adresse anmelden, zu der es bereits ein Konto gibt.",
        "Melden Sie sich damit an; ein vergessenes Passwort können Sie dort neu setzen.",
        notYou,
      ],
    }),
    "reset-password": (values) => ({
      title: "Neues Passwort setzen",
      paragraphs: ["Mit diesem Code setzen Sie ein neues Passwort:"],
      code: values.need("code"),
      closing: [validFor(values.get("minutes")), notYou],
    }),
    "password-changed": () => ({
      title: "Ihr Passwort wurde geändert",
      paragraphs: [
        "Das Passwort Ihres Kontos wurde soeben geändert, alle anderen Sitzungen sind beendet.",
        "Wenn Sie das nicht waren, setzen Sie jetzt ein neues Passwort.",
      ],
    }),
    "change-email": (values) => ({
      title: "Bestätigen Sie Ihre neue E-Mail-Adresse",
      paragraphs: ["Mit diesem Code gilt von nun an diese Adresse:"],
      code: values.need("code"),
      closing: [validFor(values.get("minutes")), notYou],
    }),
    "email-changed": () => ({
      title: "Ihre E-Mail-Adresse wurde geändert",
      paragraphs: [
        "Ihr Konto hat jetzt eine andere E-Mail-Adresse. Diese hier gehört nicht mehr dazu.",
        "Wenn Sie das nicht waren, wenden Sie sich sofort an den Betreiber.",
      ],
    }),
    invitation: (values) => ({
      title: "Einladung zu Waybill",
      paragraphs: ["Sie sind eingeladen, mit Waybill zu arbeiten. Nehmen Sie mit diesem Token an:"],
      code: values.need("token"),
      closing: ["Wenn Sie nicht wissen, worum es geht, müssen Sie nichts tun."],
    }),
  },
  refunded: (amount, { money }) => ({
    title: "Ihr Geld ist unterwegs zu Ihnen",
    body: `${money(amount)} wurden erstattet. Bis Ihre Bank es zeigt, können einige Tage vergehen.`,
  }),
  alert: ({ kind, subject, detail }) => ({
    title: `Alarm: ${kind}`,
    body: `${detail} Es betrifft ${subject}.`,
  }),
  mail: {
    greeting: (firstName) => (firstName ? `Guten Tag ${firstName},` : "Guten Tag,"),
    footer: {
      news: "Das hat Ihnen Waybill gesandt. Welche Nachrichten per E-Mail kommen, bestimmen Sie in Ihren Einstellungen.",
      direct: "Waybill hat diese E-Mail gesandt, weil Ihre Adresse dort angegeben wurde.",
    },
  },
  byMailOnly: "Nur per E-Mail versandt.",
};
