import type { Language } from "./catalogue.ts";

const number = "[[ Bestellung {{number}}.]]";
const reason = "[[ Grund: {{reason}}]]";
const readyIn =
  "[[ Voraussichtlich fertig in etwa {{ready_in_minutes}} {{ready_in_minutes: one Minute | other Minuten}}.]]";
const acceptIn = "{{accept_in_minutes}} {{accept_in_minutes: one Minute | other Minuten}}";
const refund = "[[ Sie erhalten {{refund}} zurück.]]";
const refundNext =
  "[[Die Erstattung von {{refund}} geht auf dem Weg zurück, auf dem Sie bezahlt haben. Bis Ihre Bank es zeigt, können einige Tage vergehen.]]";
const validFor = "[[Er gilt {{minutes}} {{minutes: one Minute | other Minuten}}.]]";
const ignoreHint = "Wenn Sie das nicht waren, müssen Sie nichts tun.";

export const de: Language = {
  texts: {
    "order.paid:customer": {
      title: "Zahlung eingegangen",
      body: `{{total}} für Ihre Bestellung bei {{partner}} sind da. Der Partner weiß Bescheid.${number}`,
      next: "{{partner}} nimmt die Bestellung jetzt an oder lehnt sie ab. Bis zur Annahme können Sie sie stornieren. Wird sie nicht rechtzeitig angenommen, erhalten Sie Ihr Geld zurück.",
    },
    "order.paid:partner": {
      title: "Neue Bestellung",
      body: `{{partner}} hat eine neue Bestellung über {{total}}. Nehmen Sie diese in ${acceptIn} an oder lehnen Sie sie ab.${number}`,
      next: "Eine Bestellung, die nicht rechtzeitig angenommen wird, wird storniert, und der Kunde erhält das Geld zurück.",
    },
    "order.unanswered:partner": {
      title: "Eine Bestellung wartet noch",
      body: `Bei {{partner}} hat noch niemand die Bestellung über {{total}} angenommen. In etwa ${acceptIn} wird sie storniert.${number}`,
    },
    "order.accepted:customer": {
      title: "{{partner}} bereitet Ihre Bestellung zu",
      body: `Ihre Bestellung wurde angenommen.${readyIn}${number}`,
      next: "Wenn sie fertig ist, holt ein Kurier sie ab und bringt sie Ihnen.",
    },
    "order.rejected:customer": {
      title: "Ihre Bestellung wurde abgelehnt",
      body: `{{partner}} kann sie nicht zubereiten.${reason}${refund}${number}`,
      next: refundNext,
    },
    "order.ready:customer": {
      title: "Ihre Bestellung ist fertig",
      body: `{{partner}} hat sie eingepackt. Ein Kurier holt sie in Kürze ab.${number}`,
      next: "An der Tür fragt der Kurier Sie nach Ihrer PIN.",
    },
    "order.ready:deliverer": {
      title: "Eine Bestellung in Ihrer Nähe ist fertig",
      body: `Abholen bei {{partner}}, {{pickup}}. Bringen nach {{destination}}. Wer sie zuerst nimmt, bekommt sie.${number}`,
    },
    "courier.near:partner": {
      title: "Der Kurier ist in der Nähe",
      body: `{{deliverer|Der Kurier}} ist gleich bei {{partner}}.${number}`,
    },
    "courier.near:customer": {
      title: "Ihr Kurier ist in der Nähe",
      body: `{{deliverer|Der Kurier}} bringt Ihre Bestellung von {{partner}} gleich. Halten Sie Ihre PIN bereit.${number}`,
    },
    "order.delayed:customer": {
      title: "Ihre Bestellung dauert länger",
      body: `{{partner}} braucht mehr Zeit.${readyIn}${reason}${number}`,
    },
    "order.delayed:deliverer": {
      title: "Eine Ihrer Lieferungen dauert länger",
      body: `{{partner}} braucht mehr Zeit.${readyIn}${number}`,
    },
    "order.assigned:customer": {
      title: "Ihre Bestellung ist unterwegs",
      body: `{{deliverer|Ein Kurier}} bringt Ihre Bestellung von {{partner}}. Nennen Sie Ihre PIN erst an der Tür.${number}`,
      next: "Ohne die PIN kann der Kurier die Bestellung nicht übergeben.",
    },
    "order.offered:deliverer": {
      title: "Eine Bestellung für Sie",
      body: `Abholen bei {{partner}}, {{pickup}}. Bringen nach {{destination}}. Nehmen Sie sie jetzt an, oder lehnen Sie sie ab.${number}`,
    },
    "order.assigned:deliverer": {
      title: "Die Lieferung gehört Ihnen",
      body: `Abholen bei {{partner}}, {{pickup}}. Bringen nach {{destination}}.${number}`,
    },
    "order.assigned:partner": {
      title: "Ein Kurier kommt",
      body: `{{deliverer|Ein Kurier}} holt die Bestellung bei {{partner}} ab.${number}`,
    },
    "order.released:deliverer": {
      title: "Eine Lieferung gehört nicht mehr Ihnen",
      body: `Die Bestellung von {{partner}} wurde Ihnen abgenommen.${reason}${number}`,
    },
    "order.released:customer": {
      title: "Wir suchen einen anderen Kurier",
      body: `Ihre Bestellung von {{partner}} ist fertig und wartet auf den nächsten Kurier.${number}`,
      next: "Sie müssen nichts tun. Sie erhalten eine Nachricht, wenn sie unterwegs ist.",
    },
    "order.delivered:customer": {
      title: "Zugestellt",
      body: `Guten Appetit und viel Freude, {{first_name}}! Ihre Bestellung von {{partner}} wurde übergeben.${number}`,
    },
    "order.failed:customer": {
      title: "Ihre Bestellung konnte nicht zugestellt werden",
      body: `Die Bestellung von {{partner}} hat Sie nicht erreicht.${reason}${number}`,
      next: "Der Betreiber entscheidet, ob die Bestellung noch einmal gebracht wird oder Sie Ihr Geld zurückerhalten. Dann erhalten Sie eine Nachricht.",
    },
    "order.cancelled:customer": {
      title: "Ihre Bestellung wurde storniert",
      body: `Die Bestellung von {{partner}} kommt nicht.${reason}${refund}${number}`,
      next: refundNext,
    },
    "order.cancelled:deliverer": {
      title: "Eine Lieferung wurde storniert",
      body: `Die Bestellung von {{partner}} muss nicht mehr zugestellt werden.${reason}${number}`,
    },
    "order.cancelled:partner": {
      title: "Eine Bestellung wurde storniert",
      body: `{{partner}} muss sie nicht mehr zubereiten.${reason}${number}`,
    },
    "order.expired:customer": {
      title: "Ihre Bestellung ist verfallen",
      body: `Die Bestellung von {{partner}} wurde nicht rechtzeitig bezahlt. Sie können jederzeit neu bestellen.${number}`,
    },
    "refund.completed:customer": {
      title: "Ihr Geld ist unterwegs zu Ihnen",
      body: `{{amount}} wurden erstattet. Bis Ihre Bank es zeigt, können einige Tage vergehen.${number}`,
    },
    "alert.raised:admin": {
      title: "Alarm: {{kind}}",
      body: "{{detail}} Es betrifft {{subject}}.",
    },
    "confirm-email": {
      title: "Bestätigen Sie Ihre E-Mail-Adresse",
      body: `Willkommen bei {{brand}}. Mit diesem Code bestätigen Sie Ihre E-Mail-Adresse:\n\n{{code}}\n\n${validFor}\n\n${ignoreHint}`,
    },
    "account-exists": {
      title: "Sie haben bereits ein Konto",
      body: `Jemand wollte sich mit Ihrer E-Mail-Adresse anmelden, zu der es bereits ein Konto gibt.\n\nMelden Sie sich damit an; ein vergessenes Passwort können Sie dort neu setzen.\n\n${ignoreHint}`,
    },
    "reset-password": {
      title: "Neues Passwort setzen",
      body: `Mit diesem Code setzen Sie ein neues Passwort:\n\n{{code}}\n\n${validFor}\n\n${ignoreHint}`,
    },
    "password-changed": {
      title: "Ihr Passwort wurde geändert",
      body: "Das Passwort Ihres Kontos wurde soeben geändert, alle anderen Sitzungen sind beendet.\n\nWenn Sie das nicht waren, setzen Sie jetzt ein neues Passwort.",
    },
    "change-email": {
      title: "Bestätigen Sie Ihre neue E-Mail-Adresse",
      body: `Mit diesem Code gilt von nun an diese Adresse:\n\n{{code}}\n\n${validFor}\n\n${ignoreHint}`,
    },
    "email-changed": {
      title: "Ihre E-Mail-Adresse wurde geändert",
      body: "Ihr Konto hat jetzt eine andere E-Mail-Adresse. Diese hier gehört nicht mehr dazu.\n\n[[Wenn Sie das nicht waren, öffnen Sie innerhalb von {{days}} {{days: one Tag | other Tagen}} diese Seite. Sie gibt Ihrem Konto diese Adresse zurück, beendet alle Sitzungen und setzt ein neues Passwort:]]\n\n[[{{link}}]]",
    },
    invitation: {
      title: "Einladung zu {{brand}}",
      body: "Sie sind eingeladen, mit {{brand}} zu arbeiten.[[ Ihre Rolle: {{role}}.]]\n\nÖffnen Sie die Seite unten, geben Sie Ihren Namen ein und wählen Sie ein Passwort. Wenn Sie zu dieser E-Mail-Adresse ein Konto haben, geben Sie dessen Passwort ein: Das Konto erhält die Rolle.\n\nWenn Sie nach dem Token der Einladung gefragt werden, ist es dieses:\n\n{{token}}\n\n[[Die Einladung gilt {{days}} {{days: one Tag | other Tage}}.]]\n\nWenn Sie nicht wissen, worum es geht, müssen Sie nichts tun.",
    },
    "webhook-disabled": {
      title: "{{partner}} nimmt keine Bestellungen an",
      body: "Ihr System unter {{address}} hat geantwortet, dass es dauerhaft entfernt ist (410). {{brand}} ruft es nicht mehr auf, und {{partner}} nimmt keine Bestellungen an.\n\nBestellungen, die vorher bezahlt wurden, warten bis zu ihrer Frist: Nehmen Sie diese von Hand an oder lehnen Sie sie ab.\n\nRichten Sie den Webhook neu ein, oder schalten Sie ihn aus, wenn Sie Bestellungen von Hand annehmen wollen. Was wartet, wird dann gesandt.",
    },
  },
  rejections: {
    out_of_stock: "Etwas ist ausverkauft",
    too_busy: "Zurzeit gibt es zu viele Bestellungen",
    closing: "Es wird gerade geschlossen",
    wish_not_possible: "Ihr Wunsch ist nicht möglich",
  },
  roles: {
    deliverer: "Kurier",
    partner: "Mitarbeiter eines Partners",
    support: "Support",
    finance: "Finanzen",
    admin: "Administrator",
  },
  mail: {
    greeting: (firstName) => (firstName ? `Guten Tag ${firstName},` : "Guten Tag,"),
    footer: {
      notification: (brand) =>
        `Das hat Ihnen ${brand} gesandt. Welche Nachrichten per E-Mail kommen, bestimmen Sie in Ihren Einstellungen.`,
      direct: (brand) => `${brand} hat diese E-Mail gesandt, weil Ihre Adresse dort angegeben wurde.`,
    },
    links: {
      order: "Bestellung ansehen",
      work: "Bestellung öffnen",
      confirmEmail: "Adresse bestätigen",
      signIn: "Anmelden",
      newPassword: "Neues Passwort setzen",
      undo: "Änderung rückgängig machen",
      acceptInvitation: "Einladung annehmen",
      webhook: "Einstellungen öffnen",
      alert: "Alarm ansehen",
      preferences: "Einstellungen der Nachrichten",
    },
    order: (number) => (number ? `Bestellung ${number}` : "Bestellung"),
    fee: "Lieferung",
    total: "Summe",
    moreProducts: { one: "weiteres Produkt", other: "weitere Produkte" },
    pin: "Ihre PIN",
  },
  byMailOnly: "Nur per E-Mail versandt.",
};
