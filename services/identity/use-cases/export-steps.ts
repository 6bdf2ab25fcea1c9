import { call, type Result } from "../../../contracts/actions.ts";
import type { ExportPage } from "../../../contracts/exports.ts";
import type { IdentityDependencies } from "../dependencies.ts";
import { auditOf } from "../store/audit.repository.ts";
import { profileView } from "./messages.ts";
import { ownProfile } from "./own-profile.ts";

const AUDIT_PAGE = 200;
const PAGE_TIMEOUT_MS = 1_500;

/** An export is a sequence of steps, each of which gives a page. A step is a text: the source, and where it continues. */
export const FIRST_STEP = "profile";

export interface ExportStep {
  userId: string;
  /** For the services that read pages. */
  ticket: string;
  step: string;
}

/** The caller of the other services. */
type Calls = Parameters<typeof call>[0];

/**
 * Reads the page of a step. @returns no next step after the last page
 * @throws NOT_FOUND if the account was deleted, and the errors of the services
 */
export async function readExportPage(
  deps: IdentityDependencies,
  calls: Calls,
  { userId, ticket, step }: ExportStep,
): Promise<{ page: ExportPage; nextStep?: string | undefined }> {
  const [source, ...rest] = step.split("/");
  const cursor = rest.length > 0 ? rest.join("/") : undefined;
  const part = { ticket, ...(cursor !== undefined && { cursor }) };
  const options = { timeout: PAGE_TIMEOUT_MS };
  switch (source) {
    case "audit":
      return auditStep(deps, userId, cursor);
    case "orders":
      return next("orders", await call(calls, "orders.exportPage", part, options), "notifications");
    case "notifications":
      return next("notifications", await call(calls, "notifications.exportPage", part, options), undefined);
    default:
      return firstStep(deps, userId);
  }
}

function next(
  source: string,
  { page, nextCursor }: Result<"orders.exportPage">,
  following: string | undefined,
): { page: ExportPage; nextStep?: string | undefined } {
  return { page, nextStep: nextCursor === undefined ? following : `${source}/${nextCursor}` };
}

async function firstStep(deps: IdentityDependencies, userId: string) {
  const [profile, sessions, acts] = await Promise.all([
    ownProfile(deps, userId),
    deps.provider.sessions(userId),
    auditStep(deps, userId, undefined),
  ]);
  const page: ExportPage = {
    profile: profileView(profile),
    ...(profile.hasAvatar && { avatarUrl: `${deps.publicUrl}/api/v1/me/avatar` }),
    sessions: sessions.map((session) => ({ ...session, current: false })),
    ...acts.page,
  };
  return { ...acts, page };
}

async function auditStep({ postgres }: IdentityDependencies, userId: string, before: string | undefined) {
  const audit = await auditOf(postgres.db, userId, AUDIT_PAGE, before);
  const last = audit.at(-1);
  return {
    page: { audit } as ExportPage,
    nextStep: audit.length === AUDIT_PAGE && last ? `audit/${last.id}` : "orders",
  };
}
