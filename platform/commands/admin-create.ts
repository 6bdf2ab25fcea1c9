/**
 * `npm run admin:create -- --email a@example.org` creates an admin on the platform that runs on DATA_DIR. It takes the
 * password from ADMIN_PASSWORD or from standard input; on a terminal it asks for it without echo.
 */
import { parseArgs } from "node:util";
import { readSettings } from "../../lib/settings/settings.ts";
import { connectToPlatform } from "../control/client.ts";
import { dataDirOf } from "../settings.ts";
import { askFor } from "./ask.ts";
import { runCommand, UsageError } from "./command.ts";

const MIN_PASSWORD_LENGTH = 8;

runCommand(async () => {
  const { ADMIN_EMAIL, ADMIN_PASSWORD, ...env } = process.env;
  const dataDir = dataDirOf(readSettings(env, { checkRequired: false }));
  const email = emailOf(ADMIN_EMAIL);
  const platform = await connectToPlatform(dataDir);
  const password = ADMIN_PASSWORD ?? (await askFor("Password: "));
  if (password.length < MIN_PASSWORD_LENGTH) {
    throw new UsageError(`The password needs at least ${MIN_PASSWORD_LENGTH} characters.`);
  }
  const { userId, created } = await platform.request("createAdmin", { email, password });
  platform.close();
  if (!created) throw new Error(`${email} is an admin already (${userId}); the password is unchanged.`);
  console.log(`${email} is an admin now (${userId}).`);
});

function emailOf(fallback: string | undefined): string {
  const usage = "npm run admin:create -- --email admin@example.org";
  try {
    const { values } = parseArgs({ options: { email: { type: "string" } } });
    const email = values.email ?? fallback;
    if (email) return email;
  } catch {
    // Unknown options get the same answer as none.
  }
  throw new UsageError(usage);
}
