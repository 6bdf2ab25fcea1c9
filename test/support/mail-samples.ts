import type { OrderSnapshot } from "../../contracts/messages.ts";
import type { OrderEvent } from "../../services/notifications/domain/templates/catalogue.ts";
import type { MailDesign, MailText } from "../../services/notifications/domain/templates/mail.ts";
import {
  builtInOnly,
  renderDirect,
  renderOrder,
  renderTextMail,
} from "../../services/notifications/domain/templates/render.ts";
import { sampleDesign, sampleOrder } from "./notifications.ts";

const EMAIL = "zoe@example.org";
const AT = "2026-11-22T10:00:00.000Z";

/** The mail about an order that its customer gets, as it is sent without own texts of an operator. */
export function orderMail(
  event: OrderEvent,
  order: OrderSnapshot,
  language: string,
  { firstName = "Zoë", design = sampleDesign }: { firstName?: string; design?: MailDesign } = {},
): MailText {
  const details = { event, orderId: order.orderId, order };
  const options = { channel: "email", overrides: builtInOnly } as const;
  const text = renderOrder(event, { order, firstName, deliverer: "Dora", at: AT }, language, options);
  return renderTextMail({ ...text, details }, firstName, design);
}

const euro = (amountMinor: number) => ({ amountMinor, currency: "EUR" });
const order = sampleOrder({
  orderId: "0198c0de-0000-7000-8000-000000000005",
  number: "K7-042",
  partnerTitle: "Café Central",
  lines: [
    { productId: "1", title: "Sourdough bread, 1 kg", quantity: 2, unitPrice: euro(650) },
    {
      productId: "2",
      title: "Apple strudel with vanilla sauce and roasted almonds",
      quantity: 1,
      unitPrice: euro(700),
    },
  ],
  reason: "No bread left.",
});
const design: MailDesign = { ...sampleDesign, brand: { name: "Nosh", color: "#0b6e4f" } };
const invitation = {
  template: "invitation",
  values: { token: "bq1cV0Yk3nq0vLJ8e2hWm5uT7xZpRsDfGjKl4AaQwEo", role: "deliverer", days: "7" },
  email: EMAIL,
};

/** Mails to look at: those of docs/images, by file name. */
export const mailSamples: Readonly<Record<string, MailText>> = {
  "mail-order-paid": orderMail("order.paid:customer", order, "en", { design }),
  "mail-courier": orderMail("order.assigned:customer", order, "ru", { design, firstName: "Зоя" }),
  "mail-cancelled": orderMail("order.cancelled:customer", order, "de", { design }),
  "mail-invitation": renderDirect({ ...invitation, language: "tg" }, design),
};
