import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { Params } from "../../contracts/actions.ts";
import { directTemplates, orderEvents, otherEvents } from "../../contracts/templates.ts";
import { newId } from "../../lib/ids.ts";
import { builtInLanguages } from "../../services/notifications/domain/templates/render.ts";
import { eventually } from "../support/eventually.ts";
import { type NotificationsHarness, orderOf, startNotifications } from "../support/notifications.ts";

const admin = { role: "admin" } as const;

let platform: NotificationsHarness;
beforeAll(async () => {
  platform = await startNotifications();
  await platform.sendBy("sandbox");
});
afterAll(() => platform.stop());

describe("template overrides", () => {
  const add = (params: Partial<Params<"notifications.createTemplate">>) =>
    platform.as(admin, "notifications.createTemplate", {
      ...{ event: "order.paid:customer", language: "it", channel: "push", enabled: true },
      ...{ title: "Grazie", body: "{{total}}" },
      ...params,
    });
  const change = (params: Params<"notifications.updateTemplate">) =>
    platform.as(admin, "notifications.updateTemplate", params);
  const titleTo = async (language: string) => {
    const who = await platform.person({ language });
    await platform.device(who, "sandbox", `phone-${newId()}`);
    await platform.say("order.paid", orderOf(who));
    return (await platform.settled(who)).title;
  };

  it("are used from the next notification on, as changed, and no longer once they are disabled", async () => {
    const { id, version } = await add({ title: "Grazie, {{first_name}}" });
    expect(await titleTo("it")).toBe("Grazie, Zoë");
    expect(await change({ templateId: id })).toMatchObject({ version });
    await change({ templateId: id, expectedVersion: version, title: "Pagato" });
    expect(await titleTo("it-CH")).toBe("Pagato");
    await change({ templateId: id, enabled: false });
    expect(await titleTo("it")).toBe("Payment received");
  });

  it("cost no query, and stay while the database does not answer", async () => {
    await add({ language: "es", title: "Gracias" });
    expect(await titleTo("es")).toBe("Gracias");
    await platform.rows("ALTER TABLE templates RENAME TO templates_away");
    try {
      expect(await titleTo("es")).toBe("Gracias");
      await platform.broker.broadcast("cache.outdated", { patterns: ["notifications.templates:**"] });
      expect(await titleTo("es")).toBe("Gracias");
    } finally {
      await platform.rows("ALTER TABLE templates_away RENAME TO templates");
    }
  });

  it("that cannot be rendered, are replaced by the built-in text, with the reason in the list", async () => {
    const { id } = await add({ language: "de", title: "Danke" });
    await platform.rows("UPDATE templates SET body = '{{shop}}' WHERE id = ?", [id]);
    await change({ templateId: (await add({ language: "pt" })).id, title: "Obrigado" });
    expect(await titleTo("de")).toBe("Zahlung eingegangen");
    const of = { event: "order.paid:customer", language: "de", channel: "push" } as const;
    const { items } = await platform.as(admin, "notifications.templates", of);
    expect(items.map(({ origin, inForce, problem }) => [origin, inForce, problem?.slice(0, 26)])).toEqual([
      ["own", false, "body: There is no {{shop}}"],
      ["built_in", true, undefined],
    ]);
    await change({ templateId: id, enabled: false });
  });

  it("for mails, are in the history of a notification that was mailed", async () => {
    await add({ language: "nl", title: "Betaald" });
    await add({
      language: "nl",
      channel: "email",
      title: "Uw betaling",
      body: "Dank u.\n\n<b>{{partner}}</b>",
    });
    const who = await platform.person({ language: "nl" });
    await platform.say("order.paid", orderOf(who));
    expect(await platform.settled(who)).toMatchObject({
      title: "Uw betaling",
      body: "Dank u.\n\n<b>Bäckerei Aare</b>",
    });
    const [mail] = platform.mails(who.email);
    const text = expect.stringMatching(
      /^Dank u\.\n\n<b>Bäckerei Aare<\/b>\n\nOrder\n2 × Bread: €\u00a020,00\n/,
    );
    expect(mail).toMatchObject({ subject: "Uw betaling", text });
    expect(mail?.html).toMatch(/>Dank u\.<\/p>\n<p [^>]*>&lt;b&gt;Bäckerei Aare&lt;\/b&gt;<\/p>/);
  });

  it("of a code, bring it into the mail and into no table", async () => {
    const words = { title: "Ecco il codice", body: "Ciao {{first_name|tu}}!\n\n{{code}}" };
    await add({ event: "confirm-email", channel: "email", ...words });
    const email = `${newId()}@example.org`;
    const values = { code: "771206", firstName: "Zoë" };
    const asked = { version: 1, email, template: "confirm-email", language: "it", values };
    const { id } = await platform.say("notification.requested", asked);
    await eventually(() => expect(platform.mails(email)).toHaveLength(1));
    expect(platform.mails(email)[0]?.text).toMatch(
      /^Ciao Zoë!\n\n {4}771206\n\nConfirm the address:\n\S+\n$/,
    );
    const stored = await platform.rows("SELECT * FROM notifications WHERE message_id = ?", [id]);
    expect(stored).toEqual([expect.objectContaining({ title: "Ecco il codice" })]);
    expect(JSON.stringify(stored)).not.toContain("771206");
  });

  it.each([
    [{ body: "{{shop}}" }, "body"],
    [{ title: "{{reason}}" }, "title"],
    [{ event: "confirm-email", body: "{{code}}" } as const, "channel"],
  ])("with %j, are refused with the wrong field", async (params, field) => {
    await expect(add({ language: "xx", ...params })).rejects.toMatchObject({
      type: "VALIDATION_ERROR",
      data: { errors: [expect.objectContaining({ field })] },
    });
  });

  it("exist once for each event, language and channel, also of ten concurrent ones", async () => {
    const added = await Promise.allSettled(Array.from({ length: 10 }, () => add({ language: "fi" })));
    const made = added.filter(({ status }) => status === "fulfilled");
    const refused = added.flatMap((one) => (one.status === "rejected" ? [one.reason.type] : []));
    expect([made.length, new Set(refused)]).toEqual([1, new Set(["TEMPLATE_EXISTS"])]);
  });

  it("are changed with their version: the second of two concurrent changes is PRECONDITION_FAILED", async () => {
    const { id, version } = await add({ language: "ro" });
    const both = await Promise.allSettled(
      ["A", "B"].map((title) => change({ templateId: id, expectedVersion: version, title })),
    );
    expect(both.map(({ status }) => status).toSorted()).toEqual(["fulfilled", "rejected"]);
    await expect(change({ templateId: id, expectedVersion: version, title: "C" })).rejects.toMatchObject({
      type: "PRECONDITION_FAILED",
    });
    await expect(change({ templateId: newId(), title: "C" })).rejects.toMatchObject({ type: "NOT_FOUND" });
  });

  it("are in the list beside built-in texts, page by page, with previews and placeholders", async () => {
    const all: { event: string; language: string; channel: string; origin: string; preview: object }[] = [];
    let cursor: string | undefined;
    do {
      const page = { limit: 50, ...(cursor && { cursor }) };
      const { items, nextCursor } = await platform.as(admin, "notifications.templates", page);
      all.push(...items);
      cursor = nextCursor;
    } while (cursor);
    const places = all.map(({ event, language, channel, origin }) =>
      [event, language, channel, origin].join(" "),
    );
    expect(new Set(places).size).toBe(places.length);
    expect(all.filter(({ origin }) => origin === "built_in")).toHaveLength(
      ((orderEvents.length + otherEvents.length) * 2 + directTemplates.length) * builtInLanguages.length,
    );
    expect(all.filter(({ preview }) => /[{[]/.test(JSON.stringify(Object.values(preview)[0])))).toEqual([]);
    const of = { event: "order.delayed:customer", language: "en", channel: "push" } as const;
    const { items } = await platform.as(admin, "notifications.templates", of);
    expect(items).toEqual([
      expect.objectContaining({
        origin: "built_in",
        inForce: true,
        preview: {
          title: "Your order takes longer",
          body: "Café Central needs more time. It should be ready in about 15 minutes. Reason: No bread left. Order K7-042.",
        },
        placeholders: expect.arrayContaining([
          expect.objectContaining({ placeholder: "reason", mayBeMissing: true, secret: false }),
        ]),
      }),
    ]);
  });

  it("for another role than admin, are FORBIDDEN", async () => {
    await expect(platform.as({}, "notifications.templates", {})).rejects.toMatchObject({ type: "FORBIDDEN" });
    const partner = { role: "partner", partnerId: newId() } as const;
    await expect(
      platform.as(partner, "notifications.updateTemplate", { templateId: newId(), title: "X" }),
    ).rejects.toMatchObject({ type: "FORBIDDEN" });
  });
});
