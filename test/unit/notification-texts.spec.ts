import { describe, expect, it } from "@jest/globals";
import { rejectionReason } from "../../contracts/orders.ts";
import { templateEvents } from "../../contracts/templates.ts";
import {
  addresseesOf,
  audience,
  type OrderMessageType,
} from "../../services/notifications/domain/audience.ts";
import { acceptUntilMs, halfWayMs, minutesLeft } from "../../services/notifications/domain/reminders.ts";
import {
  directTemplates,
  orderEvents,
  type Text,
} from "../../services/notifications/domain/templates/catalogue.ts";
import { channelsOf } from "../../services/notifications/domain/templates/placeholders.ts";
import {
  builtIn,
  builtInLanguages,
  languageOf,
  renderDirect,
  renderOrder,
  renderRefund,
  renderReminder,
  renderTextMail,
  TemplateError,
} from "../../services/notifications/domain/templates/render.ts";
import { orderMail } from "../support/mail-samples.ts";
import { sampleDesign, sampleOrder } from "../support/notifications.ts";

const at = "2026-11-22T10:00:00.000Z";
const values = {
  ...{ code: "123456", token: "inv_abc", minutes: "15", firstName: "Zoë" },
  ...{ partner: "Café", address: "shop.example" },
};
const canary = `<script>alert("1")</script>&'`;

const direct = (template: string, values: Record<string, string>, language: string, design = sampleDesign) =>
  renderDirect({ template, values, language, email: "zoe+x@example.org" }, design);

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

  it.each(builtInLanguages)("in %s, names the order, its price and the minutes that are left", (language) => {
    const total = { amountMinor: 2_450, currency: "EUR" };
    const minutes = minutesLeft(paidAtMs, paidAtMs + 4.2 * MINUTE_MS);
    const { body } = renderReminder(
      { partnerTitle: "Bäckerei Aare", number: "K7-042", total, minutesLeft: minutes },
      "Zoë",
      language,
    );
    expect(body).toMatch(/Bäckerei Aare.*24[.,]50.*5 (?:[Mm]in|мин|дақ).*K7-042/);
  });
});

describe.each(builtInLanguages)("texts in %s", (language) => {
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
    expect(body).not.toMatch(/Reason|Grund|Причина|Сабаб/);
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
      const mail = direct(template, { ...values, firstName: canary }, language);
      expect(mail.text).toContain(canary);
      expect(mail.html).not.toContain("<script>");
      expect(mail.html).toContain("&lt;script&gt;");
      expect(mail.html).toContain(`lang="${language}"`);
    },
  );

  it.each(["confirm-email", "reset-password", "change-email"])(
    "%s shows its code, but not in the history",
    (name) => {
      const { text, html, summary } = direct(name, values, language);
      expect(text).toContain("123456");
      expect(html).toContain("123456");
      expect(JSON.stringify(summary)).not.toContain("123456");
    },
  );

  it("an order's mail, with any name of the partner, contains no markup of theirs", () => {
    const order = sampleOrder({ partnerTitle: canary });
    const { html } = orderMail("order.assigned:customer", order, language, { firstName: canary });
    expect(html).not.toContain("<script>");
    expect(html.split("&lt;script&gt;").length).toBeGreaterThan(3);
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
    expect(() => direct("nonsense", values, "en")).toThrow(TemplateError);
    expect(() => direct("toString", values, "en")).toThrow(TemplateError);
    expect(() => direct("confirm-email", {}, "en")).toThrow(/needs the value code/);
  });
});

describe("mails", () => {
  const order = sampleOrder({ number: "K7-042" });
  const hrefs = (html: string) => [...html.matchAll(/href="([^"]*)"/g)].map(([, url]) => url);

  it("about an order, list its products, fee and total, what happens next and a link, in both parts", () => {
    const { text, html } = orderMail("order.paid:customer", order, "en");
    const url = `https://app.example.org/orders/${order.orderId}`;
    for (const shown of [
      "Order K7-042",
      "2 × Bread",
      "€20.00",
      "€4.50",
      "€24.50",
      "you get your money back",
      url,
    ]) {
      expect([shown, text.includes(shown), html.includes(shown)]).toEqual([shown, true, true]);
    }
    expect(renderOrder("order.paid:customer", { order, firstName: "Zoë", at }, "en").body).not.toContain(
      "money",
    );
    expect(hrefs(html)).toEqual([url, "https://app.example.org/settings/notifications"]);
  });

  it("about a courier on the way, contain the PIN, and no other mail or text does", () => {
    const withPin = orderEvents.filter((event) => {
      const { text, html, subject } = orderMail(event, order, "en");
      const push = renderOrder(event, { order, firstName: "Zoë", at }, "en");
      expect(`${subject} ${JSON.stringify(push)}`).not.toContain("4711");
      expect(html.includes(">4711<")).toBe(text.includes("Your PIN: 4711"));
      return text.includes("4711");
    });
    expect(withPin).toEqual(["order.assigned:customer"]);
    const { pinOf: _, ...withoutPin } = sampleDesign;
    expect(orderMail("order.assigned:customer", order, "en", { design: withoutPin }).text).not.toContain(
      "Your PIN",
    );
  });

  it.each([
    ["confirm-email", "/email/confirm#email=zoe%2Bx%40example.org&code=123456"],
    ["reset-password", "/password/reset#email=zoe%2Bx%40example.org&code=123456"],
    ["invitation", "/invitations/accept#token=inv_abc"],
  ])("of %s, link to the front app or, without one, to the gateway's page", (template, path) => {
    const own = { ...sampleDesign, pages: { publicUrl: sampleDesign.pages.publicUrl } };
    expect(direct(template, values, "en").text).toContain(`\nhttps://app.example.org${path}\n`);
    expect(direct(template, values, "en", own).text).toContain(`\nhttps://api.example.org${path}\n`);
    expect(orderMail("order.paid:customer", order, "en", { design: own }).html).not.toContain("href");
  });

  it("about an order, without a front app, link customers to the gateway's tracking page, and nobody else", () => {
    const { pinOf: _, ...sample } = sampleDesign;
    const design = {
      ...sample,
      pages: { publicUrl: "https://api.example.org" },
      trackingTokenOf: (orderId: string) => `token-of-${orderId}`,
    };
    for (const event of orderEvents) {
      const urls = hrefs(orderMail(event, order, "en", { design }).html);
      const tracking = `https://api.example.org/track#token-of-${order.orderId}`;
      expect([event, urls]).toEqual([event, event.endsWith(":customer") ? [tracking] : []]);
    }
  });

  it("about an alert, link to its page in the front app, whatever it concerns", () => {
    const text = { title: "Alert", body: "It waits.", language: "en" };
    const alert = { kind: "a/b", subject: "../x?y#z" };
    const mail = renderTextMail(
      { ...text, details: { event: "alert.raised:admin", alert } },
      "Ada",
      sampleDesign,
    );
    expect(mail.text).toContain("\nhttps://app.example.org/alerts/a%2Fb/..%2Fx%3Fy%23z\n");
  });

  it.each([
    ["https://api.example.org/email/undo#abc", true],
    ["https://app.example.org/email/undo#abc", true],
    ["https://api.example.org.evil.example/email/undo#abc", false],
    ["https://api.example.org@evil.example/", false],
    ["http://api.example.org/email/undo#abc", false],
    ["javascript:alert(1)", false],
    ["data:text/html,x", false],
    ["/email/undo", false],
  ])("with the link %s, contain it: %s", (link, isShown) => {
    const { text, html } = direct("email-changed", { link, days: "7" }, "en");
    expect([text.includes(link), hrefs(html).includes(link)]).toEqual([isShown, isShown]);
  });

  it("of an invitation, say in the reader's language which role it gives and for how long", () => {
    const sent = { token: "inv_abc", role: "deliverer", days: "7" };
    const said = builtInLanguages.map((language) => direct("invitation", sent, language).text);
    for (const [index, words] of [
      /courier.*7 days/s,
      /Kurier.*7 Tage/s,
      /курьер.*7 дней/s,
      /курйер.*7 рӯз/s,
    ].entries())
      expect(said[index]).toMatch(words);
    expect(direct("invitation", { ...sent, role: "toString" }, "en").text).not.toMatch(/Your role|function/);
  });

  it("with as much as an order and its texts can hold, stay below 200 KB, and say how much they left out", () => {
    const line = { productId: "p", title: "&".repeat(200), quantity: 99, unitPrice: order.total };
    const long = sampleOrder({
      lines: Array.from({ length: 51 }, () => line),
      partnerTitle: "<".repeat(120),
      reason: "'".repeat(500),
    });
    const { text, html } = orderMail("order.cancelled:customer", long, "ru", { firstName: "ы".repeat(100) });
    expect(text).toContain("+ 21 другой товар");
    expect(Buffer.byteLength(text + html)).toBeLessThan(200_000);
    const flood = direct("confirm-email", { ...values, firstName: "&".repeat(60_000) }, "en");
    expect(Buffer.byteLength(flood.text + flood.html)).toBeLessThan(200_000);
  });

  it("have the brand's name, colour and logo, and nothing else to load", () => {
    const brand = { name: "Nosh", color: "#ffd400", logoUrl: 'https://cdn.example.org/l.png?a="b"' };
    const { text, html } = direct("confirm-email", values, "en", { ...sampleDesign, brand });
    expect(text).toMatch(/Welcome to Nosh\..*Nosh sent this mail/s);
    expect(html).toContain('src="https://cdn.example.org/l.png?a=&quot;b&quot;" alt="Nosh"');
    expect(html).toMatch(/bgcolor="#ffd400"[^>]*><a [^>]*color:#000000"/);
    expect(html.match(/\b(?:src|url|background)\s*=/g)).toEqual(["src="]);
  });
});

describe("the four languages", () => {
  const texts = (language: string) =>
    templateEvents.flatMap((event) =>
      channelsOf(event).map(
        (channel) => [event, channel, builtIn(event, language, channel) as Text] as const,
      ),
    );
  const names = (text: string) =>
    [...new Set([...text.matchAll(/\{\{([a-z_]+)/g)].map(([, name]) => name))].toSorted();

  it("have every text, with the same placeholders in each title and paragraph", () => {
    expect(builtInLanguages).toEqual(["en", "de", "ru", "tg"]);
    const shapes = builtInLanguages.map((language) =>
      texts(language).map(([event, channel, { title, body }]) => [
        ...[event, channel],
        ...[title, ...body.split("\n\n")].map(names),
      ]),
    );
    for (const shape of shapes) expect(shape).toEqual(shapes[0]);
  });

  it.each(builtInLanguages)(
    "in %s, have the word of each plural form that an integer can need",
    (language) => {
      const supported = Intl.PluralRules.supportedLocalesOf(language).length > 0;
      const needed = new Set(
        Array.from({ length: 200 }, (_, count) =>
          supported ? new Intl.PluralRules(language).select(count) : "other",
        ),
      );
      const forms = texts(language).flatMap(([, , { body }]) => [
        ...body.matchAll(/\{\{[a-z_]+:([^}]*)\}\}/g),
      ]);
      expect(forms.length > 0).toBe(supported);
      for (const [, form = ""] of forms) {
        expect(new Set(form.split("|").map((one) => one.trim().split(" ")[0]))).toEqual(needed);
      }
    },
  );

  it.each([
    ["ru", /[^\p{Script=Cyrillic}\p{N}\p{P}\p{Z}\n]/u],
    ["tg", /[^\p{Script=Cyrillic}\p{N}\p{P}\p{Z}\n]/u],
  ])("in %s, have no letter of another script outside of names", (language, foreign) => {
    for (const [event, , { title, body }] of texts(language)) {
      const written = `${title} ${body}`.replace(
        /\{\{[a-z_]+(?:\}\}|[:|])|\}\}|\||\b(?:one|few|many|other)\b|\bPIN\b/g,
        "",
      );
      expect([event, foreign.exec(written)]).toEqual([event, null]);
    }
    const tajik = texts("tg")
      .map(([, , { body }]) => body)
      .join("");
    expect([..."ғӣқӯҳҷ"].filter((letter) => !tajik.includes(letter))).toEqual([]);
  });
});
