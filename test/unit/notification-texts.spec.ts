import { describe, expect, it } from "@jest/globals";
import { rejectionReason } from "../../contracts/orders.ts";
import {
  addresseesOf,
  audience,
  type OrderMessageType,
} from "../../services/notifications/domain/audience.ts";
import { acceptUntilMs, halfWayMs, minutesLeft } from "../../services/notifications/domain/reminders.ts";
import { directTemplates, orderEvents } from "../../services/notifications/domain/templates/catalogue.ts";
import {
  languageOf,
  renderDirect,
  renderOrder,
  renderRefund,
  renderReminder,
  renderTextMail,
  TemplateError,
} from "../../services/notifications/domain/templates/render.ts";
import { sampleOrder } from "../support/notifications.ts";

const at = "2026-11-22T10:00:00.000Z";
const values = {
  ...{ code: "123456", token: "inv_abc", minutes: "15", firstName: "Zoë" },
  ...{ partner: "Café", address: "shop.example" },
};
const canary = `<script>alert("1")</script>&'`;

describe("audience", () => {
  it("has a text for every event that is sent, and a recipient for every text", () => {
    const told = Object.keys(audience).flatMap((type) =>
      addresseesOf(
        type as OrderMessageType,
        sampleOrder({ delivererId: "d", formerDelivererId: "e", nearbyDelivererIds: ["f"], offeredTo: "g" }),
        ["s"],
      ).map(({ event }) => event),
    );
    expect(new Set(told)).toEqual(new Set(orderEvents));
  });

  it("of an assigned order, by the deliverer, is customer and deliverer", () => {
    const order = sampleOrder({ delivererId: "d", actor: "d" });
    expect(addresseesOf("order.assigned", order)).toEqual([
      { userId: order.customer.id, event: "order.assigned:customer" },
      { userId: "d", event: "order.assigned:deliverer" },
    ]);
  });

  it("of a released order, is the courier who had it, unless it is their own act", () => {
    const order = sampleOrder({ formerDelivererId: "d", actor: "an operator" });
    const customer = { userId: order.customer.id, event: "order.released:customer" };
    const deliverer = { userId: "d", event: "order.released:deliverer" };
    expect(addresseesOf("order.released", order)).toEqual([customer, deliverer]);
    expect(addresseesOf("order.released", { ...order, actor: "d" })).toEqual([customer]);
  });

  it("of an order that its partner's staff see, is each of the staff except the one who acted", () => {
    const toStaff = (type: OrderMessageType, change: Parameters<typeof sampleOrder>[0]) =>
      addresseesOf(type, sampleOrder(change), ["s", "t"])
        .filter(({ event }) => event.endsWith(":partner"))
        .map(({ userId }) => userId);
    expect(toStaff("order.paid", { actor: "bank:1" })).toEqual(["s", "t"]);
    expect(toStaff("order.assigned", {})).toEqual(["s", "t"]);
    expect(toStaff("order.cancelled", { actor: "s", previousStatus: "preparing" })).toEqual(["t"]);
    expect(toStaff("order.cancelled", { previousStatus: "pending" })).toEqual([]);
    expect(toStaff("order.accepted", { actor: "s" })).toEqual([]);
  });

  it("of a ready or released order, is also the couriers nearby, each once", () => {
    const order = sampleOrder({ nearbyDelivererIds: ["f", "g"], formerDelivererId: "d" });
    const nearby = ["f", "g"].map((userId) => ({ userId, event: "order.ready:deliverer" }));
    expect(addresseesOf("order.ready", order).slice(1)).toEqual(nearby);
    expect(addresseesOf("order.released", order).slice(2)).toEqual(nearby);
    expect(addresseesOf("order.pooled", order)).toEqual(nearby);
  });

  it("of an order that is offered, is the courier to whom it is offered", () => {
    const order = sampleOrder({ offeredTo: "f", actor: "platform" });
    expect(addresseesOf("order.offered", order)).toEqual([{ userId: "f", event: "order.offered:deliverer" }]);
  });

  it("of an order that a member of the staff has placed, is this member as staff, once", () => {
    const order = sampleOrder({ customer: { id: "s", name: "Zoë" } });
    expect(addresseesOf("order.paid", order, ["s", "t"])).toEqual([
      { userId: "s", event: "order.paid:partner" },
      { userId: "t", event: "order.paid:partner" },
    ]);
  });

  it("of a cancelled order without a deliverer, is the customer only", () => {
    const order = sampleOrder();
    expect(addresseesOf("order.cancelled", order).map(({ userId }) => userId)).toEqual([order.customer.id]);
  });
});

describe("the reminder of a paid order", () => {
  const [MINUTE_MS, paidAtMs] = [60_000, Date.parse(at)];

  it("is due half-way to the end of the partner's time, and the alert half-way after that", () => {
    const untilMs = acceptUntilMs({ acceptanceMinutes: 20 }, paidAtMs, paidAtMs + MINUTE_MS);
    expect(untilMs).toBe(paidAtMs + 20 * MINUTE_MS);
    expect(halfWayMs(paidAtMs, untilMs)).toBe(paidAtMs + 10 * MINUTE_MS);
    expect(halfWayMs(paidAtMs + 10 * MINUTE_MS, untilMs)).toBe(paidAtMs + 15 * MINUTE_MS);
    expect(halfWayMs(untilMs + 1, untilMs)).toBe(untilMs + 1);
  });

  it("without a setting, and after a long outage, counts ten minutes from the arrival of the message", () => {
    const nowMs = paidAtMs + 180 * MINUTE_MS;
    expect(acceptUntilMs({}, paidAtMs, nowMs)).toBe(nowMs + 10 * MINUTE_MS);
  });

  it.each(["en", "de"])("in %s, names the order, its price and the minutes that are left", (language) => {
    const total = { amountMinor: 2_450, currency: "EUR" };
    const minutes = minutesLeft(paidAtMs, paidAtMs + 4.2 * MINUTE_MS);
    const { body } = renderReminder(
      { partnerTitle: "Bäckerei Aare", number: "K7-042", total, minutesLeft: minutes },
      "Zoë",
      language,
    );
    expect(body).toMatch(/Bäckerei Aare.*24[.,]50.*5 [Mm]in.*K7-042/);
  });
});

describe.each(["en", "de"])("texts in %s", (language) => {
  it.each(orderEvents)("%s, with and without optional values, is a short text without gaps", (event) => {
    const full = sampleOrder({
      reason: "No bread left.",
      readyAt: "2026-11-22T10:20:00.000Z",
      delivererId: "d",
    });
    for (const order of [full, sampleOrder()]) {
      const { title, body } = renderOrder(
        event,
        { order, firstName: "Zoë", deliverer: "Dora", at },
        language,
      );
      expect(title.length).toBeGreaterThan(3);
      expect(`${title} ${body}`).not.toMatch(/undefined|null|NaN|\[object| {2}/);
      expect(title.length + body.length).toBeLessThan(400);
    }
  });

  it("each text about an order, and about its refund, has the order's number if it has one", () => {
    for (const event of orderEvents) {
      const input = { firstName: "Zoë", at };
      const { body } = renderOrder(event, { order: sampleOrder({ number: "K7-042" }), ...input }, language);
      expect(body).toContain("K7-042");
    }
    const amount = { amountMinor: 1_200, currency: "EUR" };
    expect(renderRefund({ amount, number: "K7-042" }, "Zoë", language).body).toContain("K7-042");
  });

  it("a reason, with or without a full stop, is a sentence before the next one", () => {
    for (const reason of ["No bread left", "No bread left."]) {
      const order = sampleOrder({ reason });
      const { body } = renderOrder("order.cancelled:customer", { order, firstName: "Zoë", at }, language);
      expect(body).toMatch(/ No bread left\.(?: \p{Lu}|$)/u);
    }
  });

  it("a rejection by hand, for any reason, shows it in the reader's language, with the products and the staff's text", () => {
    const { lines } = sampleOrder();
    const [line] = lines;
    const texts = rejectionReason.values.map((reason) => {
      const outOfStock = reason === "out_of_stock" && line ? [line.productId] : [];
      const rejection = { reason, text: "Morgen wieder", outOfStock };
      const order = sampleOrder({ lines, reason: "English text of the history.", rejection });
      const { body } = renderOrder("order.rejected:customer", { order, firstName: "Zoë", at }, language);
      expect(body).toMatch(/ Morgen wieder\.(?: |$)/u);
      expect(body).not.toContain("English text");
      if (outOfStock.length > 0) expect(body).toContain(line?.title);
      return body;
    });
    expect(new Set(texts).size).toBe(rejectionReason.values.length);
    const order = sampleOrder({ reason: "-", rejection: { reason: "other", outOfStock: [] } });
    const { body } = renderOrder("order.rejected:customer", { order, firstName: "Zoë", at }, language);
    expect(body).not.toMatch(/Reason|Grund/);
  });

  it("an order's text, with the longest names, fits the columns", () => {
    const order = sampleOrder({ partnerTitle: "x".repeat(120), reason: "y".repeat(500) });
    for (const event of orderEvents) {
      const { title, body } = renderOrder(event, { order, firstName: "z".repeat(100), at }, language);
      expect(title.length).toBeLessThanOrEqual(200);
      expect(body.length).toBeLessThanOrEqual(2_000);
    }
  });

  it.each(directTemplates)(
    "%s, as a mail, is the same in text and markup and escapes its values",
    (template) => {
      const mail = renderDirect(template, { ...values, firstName: canary }, language);
      expect(mail.text).toContain(canary);
      expect(mail.html).not.toContain("<script>");
      expect(mail.html).toContain("&lt;script&gt;");
      expect(mail.html).toContain(`lang="${language}"`);
    },
  );

  it.each(["confirm-email", "reset-password", "change-email"])(
    "%s shows its code, but not in the history",
    (name) => {
      const { text, html, summary } = renderDirect(name, values, language);
      expect(text).toContain("123456");
      expect(html).toContain("123456");
      expect(JSON.stringify(summary)).not.toContain("123456");
    },
  );

  it("an order's mail, with any name of the partner, contains no markup of theirs", () => {
    const order = sampleOrder({ partnerTitle: canary });
    const text = renderOrder("order.delivered:customer", { order, firstName: "Zoë", at }, language);
    expect(renderTextMail(text, "Zoë", language).html).not.toContain("<script>");
  });
});

describe("languages", () => {
  it.each([
    ["de", "de"],
    ["de-AT", "de"],
    ["en-GB", "en"],
    ["fr", "en"],
    ["constructor", "en"],
  ])("a text in %s is written in %s", (wanted, written) => {
    expect(languageOf(wanted)).toBe(written);
  });

  it("an amount, in each language, is written in its usual form", () => {
    const news = { order: sampleOrder(), firstName: "Zoë", at };
    expect(renderOrder("order.paid:customer", news, "en").body).toContain("€24.50");
    expect(renderOrder("order.paid:customer", news, "de").body).toContain("24,50\u00a0€");
  });

  it("a direct send, of an unknown template or without its code, is refused with TemplateError", () => {
    expect(() => renderDirect("nonsense", values, "en")).toThrow(TemplateError);
    expect(() => renderDirect("toString", values, "en")).toThrow(TemplateError);
    expect(() => renderDirect("confirm-email", {}, "en")).toThrow(/needs the value code/);
  });
});
