import { describe, expect, it } from "@jest/globals";
import { templateEvents } from "../../contracts/templates.ts";
import type { Template } from "../../services/notifications/domain/templates/catalogue.ts";
import {
  channelsOf,
  placeholdersByEvent,
} from "../../services/notifications/domain/templates/placeholders.ts";
import {
  builtIn,
  builtInLanguages,
  renderDirect,
  renderOrder,
  renderTextMail,
  type TemplateOverrideLookup,
} from "../../services/notifications/domain/templates/render.ts";
import {
  exampleValues,
  problemsOf,
  renderTemplate,
  TemplateError,
  textOf,
} from "../../services/notifications/domain/templates/render-template.ts";
import { sampleDesign, sampleOrder } from "../support/notifications.ts";

const REJECTED = "order.rejected:customer";
const at = "2026-11-22T10:00:00.000Z";
const text = (body: string, title = "A title"): Template => ({ title, body });
const rejected = (body: string, values: Record<string, string> = {}) =>
  textOf(
    renderTemplate(
      text(body),
      REJECTED,
      { partner: "Crema", first_name: "Zoë", total: "€1.00", ...values },
      "en",
    ),
  ).body;
const rulesOf = (template: Template, event: Parameters<typeof problemsOf>[1] = REJECTED) =>
  problemsOf(template, event).map(({ field, rule }) => `${field} ${rule}`);

/** Own texts by "event language channel". */
function own(texts: Record<string, Template>) {
  const broken: string[] = [];
  const found: TemplateOverrideLookup = {
    find: (event, language, channel) => texts[`${event} ${language} ${channel}`],
    reportUnusable: (event, language, channel, why) => broken.push(`${event} ${language} ${channel}: ${why}`),
  };
  return {
    broken,
    push: { overrides: found, channel: "push" as const },
    mail: { overrides: found, channel: "email" as const },
  };
}

describe("a text with placeholders", () => {
  it("rendered, has each value in place of its name", () => {
    expect(rejected("{{first_name}}: {{ partner }} says no.")).toBe("Zoë: Crema says no.");
  });

  it("without an optional value, uses the default, or omits the part", () => {
    const body = "{{reason|We do not know why.}}[[ You get {{refund}} back.]] Sorry.";
    expect(rejected(body)).toBe("We do not know why. Sorry.");
    expect(rejected(body, { reason: "No bread.", refund: "€2" })).toBe("No bread. You get €2 back. Sorry.");
    expect(rejected(body, { reason: "" })).toBe("We do not know why. Sorry.");
  });

  it("of several paragraphs, omits empty ones", () => {
    expect(rejected("One.\n\n[[{{reason}}]]\n\nThree.")).toBe("One.\n\nThree.");
  });

  it("rendered with values that look like placeholders, does not render these", () => {
    expect(rejected("{{partner}}", { partner: "{{total}} [[x]] $& $1" })).toBe("{{total}} [[x]] $& $1");
  });

  it("rendered with lines, has one line as its title", () => {
    const filled = renderTemplate(
      text("x", "No: {{reason|}}"),
      REJECTED,
      {
        reason: "a\r\nBcc: b@example.org",
      },
      "en",
    );
    expect(filled.title).toBe("No: a Bcc: b@example.org");
  });

  it.each(["{{constructor}}", "{{__proto__}}", "{{toString}}", "{{code}}"])(
    "with the unknown name %s, is not rendered",
    (name) => {
      expect(() => renderTemplate(text(name), REJECTED, { code: "123456" }, "en")).toThrow(TemplateError);
    },
  );

  it.each([
    ["en", "1", "1 minute"],
    ["en", "5", "5 minutes"],
    ["ru", "1", "1 минуту"],
    ["ru", "3", "3 минуты"],
    ["ru", "11", "11 минут"],
    ["ru", "21", "21 минуту"],
    ["tg", "1", "1 дақиқа"],
    ["tg", "5", "5 дақиқа"],
    ["ar", "5", "5 x"],
  ])("in %s, has the form of the number %s", (language, minutes, written) => {
    const forms: Record<string, string> = {
      en: "one minute | other minutes",
      ru: "one минуту | few минуты | many минут",
      tg: "other дақиқа",
      ar: "one y | other x",
    };
    const { body } = text(`{{ready_in_minutes|}} {{ready_in_minutes: ${forms[language]}}}`);
    const values = { ready_in_minutes: minutes };
    expect(textOf(renderTemplate(text(body), "order.accepted:customer", values, language)).body).toBe(
      written,
    );
  });

  it("with braces that belong to no placeholder, keeps them", () => {
    expect(rejected("{a} [b] {{partner}}")).toBe("{a} [b] Crema");
  });
});

describe("the check of a template override", () => {
  it.each(builtInLanguages)("accepts the built-in texts of %s", (language) => {
    for (const event of templateEvents) {
      for (const channel of channelsOf(event)) {
        const template = builtIn(event, language, channel) as Template;
        expect([event, ...problemsOf(template, event)]).toEqual([event]);
      }
    }
  });

  it.each([
    ["{{shop}} says no.", "body placeholder"],
    ["[[{{shop}}]]", "body placeholder"],
    ["{{partner says no.", "body syntax"],
    ["partner}} says no.", "body syntax"],
    ["{{Partner}}", "body syntax"],
    ["{{partner.title}}", "body syntax"],
    ["{{}}", "body syntax"],
    ["[[ [[ {{reason}} ]] ]]", "body syntax"],
    ["[[ {{reason}}", "body syntax"],
    ["{{reason}} ]]", "body syntax"],
    ["[[ a\n\n{{reason}} ]]", "body syntax"],
    ["Why: {{reason}}", "body mayBeMissing"],
    ["[[{{reason}}]]", "body empty"],
    ["{{total: some}}", "body syntax"],
    ["{{total: one}}", "body syntax"],
    ["{{reason: one a | other b}}", "body mayBeMissing"],
  ])("of %j, reports: %s", (body, problem) => {
    expect(rulesOf(text(body))).toEqual([problem]);
  });

  it("checks the title too", () => {
    expect(rulesOf(text("x", "{{shop}}"))).toEqual(["title placeholder"]);
    expect(rulesOf(text("x", "[[{{reason}}]]"))).toEqual(["body empty"]);
  });

  it("names the existing placeholders", () => {
    expect(problemsOf(text("{{shop}}"), REJECTED)[0]?.message).toBe(
      "There is no {{shop}} here; there are: partner, number, total, first_name, reason, refund.",
    );
  });

  it("requires the code in a mail with a code, and refuses it in the title, which is stored", () => {
    expect(rulesOf(text("Hello"), "confirm-email")).toEqual(["body lacking"]);
    expect(rulesOf(text("[[{{code}} for {{minutes}} min]]"), "confirm-email")).toEqual(["body lacking"]);
    expect(rulesOf(text("{{code}}", "{{code}} is your code"), "confirm-email")).toEqual(["title secret"]);
    expect(rulesOf(text("{{code}}"), "confirm-email")).toEqual([]);
  });

  it("of texts made to be slow, takes no time", () => {
    // Of the processor: on a busy machine more passes by the clock.
    const before = process.cpuUsage();
    for (const part of ["{{", "[[", "{{a|", "{{a}}[[", "\n", "}}{{"]) {
      problemsOf(text(part.repeat(2_000 / part.length)), REJECTED);
    }
    expect(process.cpuUsage(before).user / 1_000).toBeLessThan(2_000);
  });

  it("has an example for every placeholder", () => {
    for (const event of templateEvents) {
      expect(Object.keys(exampleValues(event))).toEqual(placeholdersByEvent[event].map(({ name }) => name));
      expect(Object.values(exampleValues(event))).not.toContain("");
    }
  });
});

describe("a template override, for a reader in some language,", () => {
  const news = { order: sampleOrder(), firstName: "Zoë", at };
  const said = (texts: Record<string, Template>, language: string) => {
    const { push, broken } = own(texts);
    const { title, language: written } = renderOrder("order.paid:customer", news, language, push);
    return { title, written, broken };
  };

  it.each([
    ["de-AT", ["de-AT", "de", "en"], "Own de-AT"],
    ["de-AT", ["de", "en"], "Own de"],
    ["de-AT", ["en"], "Zahlung eingegangen"],
    ["fr", ["fr", "en"], "Own fr"],
    ["fr-CA", ["fr", "en"], "Own fr"],
    ["fr", ["en"], "Own en"],
    ["fr", [], "Payment received"],
    ["en-GB", ["en"], "Own en"],
    ["es-419", ["es-419", "es"], "Own es-419"],
    ["es-MX", ["es"], "Own es"],
    ["zh-Hant-TW", ["zh-Hant", "zh"], "Own zh-Hant"],
    ["zh-TW", ["zh-Hant", "zh"], "Own zh-Hant"],
    ["zh-CN", ["zh-Hant", "zh"], "Own zh"],
    ["sr-Latn-RS", ["sr-Latn", "sr"], "Own sr-Latn"],
    ["de-Latn-AT-1996", ["de"], "Own de"],
    ["iw", ["he"], "Own he"],
  ])("%s, with overrides in %j, is %s", (language, languages, title) => {
    const texts = languages.map((one) => [`order.paid:customer ${one} push`, text("x", `Own ${one}`)]);
    expect(said(Object.fromEntries(texts), language).title).toBe(title);
  });

  it("that cannot be rendered, is replaced by the next one, which is reported", () => {
    const { title, broken } = said({ "order.paid:customer de push": text("{{shop}}") }, "de");
    expect(title).toBe("Zahlung eingegangen");
    expect(broken).toEqual([expect.stringContaining("offers no shop")]);
  });

  it("of one channel, leaves the other channel's text built in", () => {
    const { push, mail } = own({ "order.paid:customer en email": text("x", "By mail") });
    expect(renderOrder("order.paid:customer", news, "en", push).title).toBe("Payment received");
    expect(renderOrder("order.paid:customer", news, "en", mail).title).toBe("By mail");
  });

  it("writes amounts in the form of its language", () => {
    const texts = own({ "order.paid:customer fr push": text("{{total}}") });
    const { body } = renderOrder("order.paid:customer", news, "fr", texts.push);
    expect(body).toBe("24,50\u00a0€");
  });
});

describe("a template override, as a mail,", () => {
  const direct = (
    template: Template,
    language = "en",
    values: Record<string, string> = { code: "482913" },
  ) => {
    const texts = own({ [`confirm-email ${language} email`]: template });
    const sent = { template: "confirm-email", values, language, email: "zoe@example.org" };
    return { ...renderDirect(sent, sampleDesign, texts.mail.overrides), broken: texts.broken };
  };

  it("contains no markup of its own or of a value", () => {
    const template = text("<b>Hi</b> {{first_name|x}}\n\n{{code}}", "<i>{{first_name|x}}</i>");
    const { html } = direct(template, "en", { code: "482913", firstName: '<img src=x onerror="1">' });
    expect(html).not.toMatch(/<b>|<i>|<img/);
    expect(html).toContain("&lt;b&gt;Hi&lt;/b&gt; &lt;img");
  });

  it("shows the code separately, and not in the history", () => {
    const { text: plain, html, summary } = direct(text("Hi.\n\n{{code}}\n\nBye."));
    expect(plain).toContain("\n\n    482913\n\n");
    expect(html).toMatch(/font-size:28px[^>]*>482913</);
    expect(summary).toEqual({ title: "A title", body: "Sent by e-mail only." });
  });

  it("in a language with built-in texts, has their greeting and signature", () => {
    const { text: plain } = direct(text("Der Code: {{code}}"), "de-AT");
    expect(plain).toMatch(/^Guten Tag,\n\nDer Code: 482913\n\nAdresse bestätigen:\n.*\n\n-- \nNosh & Co hat/);
  });

  it("in a language without built-in texts, has neither", () => {
    const { text: plain, html } = direct(text("Bonjour.\n\n{{code}}"), "fr");
    expect(plain).toMatch(/^Bonjour\.\n\n {4}482913\n\nConfirm the address:\n\S+$/);
    expect(html).toContain('<html lang="fr" dir="ltr">');
    const mail = { title: "t", body: "Un\n\ndeux\ntrois", language: "ar" };
    const written = renderTextMail(mail, "Zoë", sampleDesign).html;
    expect(written).toMatch(/<\/h1><p [^>]*>Un<\/p>\n<p [^>]*>deux<br>trois<\/p>/);
    expect(written).toContain('<html lang="ar" dir="rtl">');
  });

  it("without its code, is refused like the built-in one", () => {
    expect(() => direct(text("{{code}}"), "en", {})).toThrow(/needs the value code/);
  });
});
