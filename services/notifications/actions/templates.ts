import type { Params, Result } from "../../../contracts/actions.ts";
import { type FieldError, fail, invalidField } from "../../../contracts/errors.ts";
import type { Ctx } from "../../../contracts/meta.ts";
import {
  type OwnTemplate,
  type TemplateEvent,
  type TemplateView,
  templateEvents,
} from "../../../contracts/templates.ts";
import { isEmptyChange } from "../../../lib/changes.ts";
import { newId } from "../../../lib/ids.ts";
import type { Db } from "../../../lib/sql/database.ts";
import { shorten } from "../../../lib/text.ts";
import { callerOf } from "../../../mixins/caller/caller.ts";
import { audit, fieldsOf } from "../../../mixins/outbox/audit.ts";
import type { Outbox } from "../../../mixins/outbox/outbox.mixin.ts";
import { idempotent } from "../../../mixins/postgres/idempotency.ts";
import type { Postgres } from "../../../mixins/postgres/postgres.mixin.ts";
import type { Template } from "../domain/templates/catalogue.ts";
import { channelsOf, placeholdersByEvent } from "../domain/templates/placeholders.ts";
import { builtIn, builtInLanguages } from "../domain/templates/render.ts";
import { exampleValues, problemsOf, renderTemplate, textOf } from "../domain/templates/render-template.ts";
import {
  allTemplates,
  hasCapacity,
  insertTemplate,
  lockTemplate,
  OWN_TEMPLATES_MAX,
  replaceTemplate,
  type TemplateRow,
} from "../store/templates.repository.ts";
import type { TemplateOverrides } from "../use-cases/template-overrides.ts";

const LIMIT_DEFAULT = 20;
const PREVIEW_TITLE_MAX = 200;
const PREVIEW_BODY_MAX = 2_000;
const PROBLEM_MAX = 500;
/** The content of a cursor: event, language, channel, and 1 for a built-in template. */
const CURSOR = /^\S+ \S+ \S+ [01]$/;

export interface TemplateDeps {
  postgres: Postgres;
  outbox: Pick<Outbox, "add">;
  templateOverrides: Pick<TemplateOverrides, "outdated">;
}

/** Overrides and built-in templates by event, language and channel. An override comes before its built-in template. */
export async function listTemplates(
  { postgres }: TemplateDeps,
  ctx: Ctx<Params<"notifications.templates">>,
): Promise<Result<"notifications.templates">> {
  callerOf(ctx, "admin");
  const { cursor, limit = LIMIT_DEFAULT, event, language, channel } = ctx.params;
  const after = cursor === undefined ? "" : Buffer.from(cursor, "base64url").toString("utf8");
  if (cursor !== undefined && !CURSOR.test(after)) {
    throw invalidField("cursor", "cursor", "The cursor is not ours.");
  }
  const wanted = allOf(await allTemplates(postgres.db)).filter(
    (one) =>
      (event === undefined || one.event === event) &&
      (language === undefined || one.language === language) &&
      (channel === undefined || one.channel === channel) &&
      sortKey(one) > after,
  );
  const items = wanted.slice(0, limit);
  const last = items.at(-1);
  if (wanted.length === items.length || !last) return { items };
  return { items, nextCursor: Buffer.from(sortKey(last)).toString("base64url") };
}

/** @throws VALIDATION_ERROR for a template that cannot be used, TEMPLATE_EXISTS */
export async function createTemplate(
  { postgres, outbox, templateOverrides }: TemplateDeps,
  ctx: Ctx<Params<"notifications.createTemplate">>,
): Promise<OwnTemplate> {
  callerOf(ctx, "admin");
  const template = await idempotent(postgres, ctx, "templates.create", async (trx) => {
    const created = await insertNew(trx, ctx.params);
    await audit(outbox, trx, ctx, created.id, templateKey(created));
    return created;
  });
  await templateOverrides.outdated();
  return template;
}

/** @throws NOT_FOUND, PRECONDITION_FAILED, VALIDATION_ERROR */
export async function updateTemplate(
  { postgres, outbox, templateOverrides }: TemplateDeps,
  ctx: Ctx<Params<"notifications.updateTemplate">>,
): Promise<OwnTemplate> {
  callerOf(ctx, "admin");
  const template = await postgres.transact(async (trx) => {
    const changed = await change(trx, ctx.params);
    await audit(outbox, trx, ctx, changed.id, `${templateKey(changed)}: ${fieldsOf(ctx.params)}`);
    return changed;
  });
  await templateOverrides.outdated();
  return template;
}

async function insertNew(trx: Db, params: Params<"notifications.createTemplate">): Promise<OwnTemplate> {
  const channels = channelsOf(params.event);
  if (!channels.includes(params.channel)) {
    throw invalidField("channel", "channel", `This is told by ${channels.join(" or ")} only.`);
  }
  validateTemplate(params, params.event);
  const created: TemplateRow = { id: newId(), ...params, version: 1 };
  if (!(await insertTemplate(trx, created))) {
    if (await hasCapacity(trx)) throw fail("TEMPLATE_EXISTS", "Change the one that is there.");
    throw invalidField(
      "language",
      "max",
      `There are ${OWN_TEMPLATES_MAX} texts already, which is all there may be.`,
    );
  }
  return ownView(created);
}

async function change(
  trx: Db,
  { templateId, expectedVersion, ...changes }: Params<"notifications.updateTemplate">,
): Promise<OwnTemplate> {
  const known = await lockTemplate(trx, templateId);
  if (!known || !isKnownEvent(known)) throw fail("NOT_FOUND", "There is no such text.");
  if (expectedVersion !== undefined && expectedVersion !== known.version) throw fail("PRECONDITION_FAILED");
  if (isEmptyChange(changes)) return ownView(known);
  const next: TemplateRow = { ...known, ...changes, version: known.version + 1 };
  // A template that an older release accepted can be disabled without a change.
  if (next.enabled || changes.title !== undefined || changes.body !== undefined)
    validateTemplate(next, next.event);
  if (!(await replaceTemplate(trx, next))) throw fail("PRECONDITION_FAILED");
  return ownView(next);
}

function validateTemplate(template: Template, event: TemplateEvent): void {
  const errors: FieldError[] = problemsOf(template, event);
  const [first] = errors;
  if (first) throw fail("VALIDATION_ERROR", first.message, { errors });
}

/** Another release may have events that this one does not know. */
function isKnownEvent({ event }: TemplateRow): boolean {
  return templateEvents.includes(event);
}

function allOf(own: readonly TemplateRow[]): TemplateView[] {
  const overrides = own.filter(isKnownEvent).map(ownView);
  const overridden = new Set(overrides.filter(({ inForce }) => inForce).map(templateKey));
  const builtIns = templateEvents.flatMap((event) =>
    channelsOf(event).flatMap((channel) =>
      builtInLanguages.map((language): TemplateView => {
        const { title, body } = builtIn(event, language, channel) as Template;
        const text = { event, language, channel, title, body };
        return {
          ...text,
          origin: "built_in",
          enabled: true,
          inForce: !overridden.has(templateKey(text)),
          ...previewAndPlaceholders(text),
        };
      }),
    ),
  );
  return [...overrides, ...builtIns].toSorted((a, b) => (sortKey(a) < sortKey(b) ? -1 : 1));
}

function ownView(row: TemplateRow): OwnTemplate {
  const [problem] = problemsOf(row, row.event);
  return {
    ...row,
    origin: "own",
    inForce: row.enabled && !problem,
    ...previewAndPlaceholders(row),
    ...(row.enabled && problem && { problem: shorten(`${problem.field}: ${problem.message}`, PROBLEM_MAX) }),
  };
}

type TextOfEvent = Template & { event: TemplateEvent; language: string };

function previewAndPlaceholders(text: TextOfEvent): Pick<TemplateView, "preview" | "placeholders"> {
  const placeholders = placeholdersByEvent[text.event].map(({ name, about, optional, secret, required }) => ({
    placeholder: name,
    about,
    mayBeMissing: optional ?? false,
    secret: secret ?? false,
    required: required ?? false,
  }));
  return { preview: previewOf(text), placeholders };
}

/** Rendered with the example of each placeholder. A template with a problem is shown unrendered. */
function previewOf(text: TextOfEvent): TemplateView["preview"] {
  const { title, body } = problemsOf(text, text.event).length > 0 ? text : renderExample(text);
  return { title: shorten(title, PREVIEW_TITLE_MAX), body: shorten(body, PREVIEW_BODY_MAX) };
}

function renderExample(text: TextOfEvent): Template {
  return textOf(renderTemplate(text, text.event, exampleValues(text.event), text.language));
}

type TemplateIdentity = Pick<TemplateView, "event" | "language" | "channel">;

/** Identifies what a template is used for. There is at most one override and one built-in template per key. */
function templateKey({ event, language, channel }: TemplateIdentity): string {
  return `${event} ${language} ${channel}`;
}

/** Sorts an override before its built-in template. */
function sortKey(one: TemplateIdentity & Pick<TemplateView, "origin">): string {
  return `${templateKey(one)} ${one.origin === "own" ? 0 : 1}`;
}
