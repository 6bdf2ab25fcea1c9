import { spawn } from "node:child_process";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { stripVTControlCharacters } from "node:util";
import { beforeAll, describe, expect, it } from "@jest/globals";
import { DROP_MAX, REPLAY_MAX } from "../../contracts/dead-letters.ts";
import { newId } from "../../lib/ids.ts";
import { databaseUrlOf, plantedLetters } from "../support/dead-letters.ts";
import { platform, type TestPlatform } from "../support/platform.ts";
import { query } from "../support/sql.ts";
import { connect } from "./client.ts";
import { customer } from "./world.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const ABSENT = "0199c1a2-7f31-7a10-9d2e-0b7c5d1e2f30";
let it_: TestPlatform;

async function repl(words: string[], input?: string, dataDir = it_.dataDir) {
  const child = spawn(process.execPath, ["platform/repl/client.ts", ...words], {
    cwd: root,
    env: { ...process.env, DATA_DIR: dataDir, BRIDGE_SECRET: "canary-canary-canary-canary-canary-0" },
    stdio: ["pipe", "pipe", "pipe"],
  });
  child.stdin.end(input);
  const [stdout, stderr, code] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    new Promise<number | null>((resolve) => child.once("exit", resolve)),
  ]);
  return { stdout: stripVTControlCharacters(stdout), stderr, code };
}

beforeAll(async () => {
  it_ = await platform();
});

describe("the operator's console", () => {
  it("runs one command as an admin and exits with 0", async () => {
    const { stdout, stderr, code } = await repl(["banks"]);
    expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
    expect(stdout).toMatch(/^BANK +TITLE +ADAPTER +STATE\n[0-9a-f-]{36} /);
    expect(stdout.split("\n").filter((line) => line.length > 80)).toEqual([]);
  });

  it("prints one JSON document for programs", async () => {
    const { stdout, code } = await repl(["dead-letters --json --limit 5"]);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toEqual(expect.any(Array));
  });

  it("runs the lines of its standard input, Moleculer's commands among them", async () => {
    const { stdout, code } = await repl([], "# what runs here\nnodes\n\norders stuck\noutbox\n");
    expect(code).toBe(0);
    for (const node of ["gateway", "orders", "partners", "notifications"]) expect(stdout).toContain(node);
    expect(stdout).toContain("outbox_messages");
  });

  it("refuses an invalid command with the reason in one line", async () => {
    const refusals: [line: string, message: RegExp][] = [
      ["nonsense", /unknown command/],
      ["order latest", /^error: that is no id/m],
      [`order ${ABSENT}`, /^error: there is none with this id/m],
      [`replay ${ABSENT}`, /^error: no service has a dead letter/m],
      ["orders stuck --limit 5000", /^error: --limit takes/m],
      ["banks --all", /^error: Unknown option/m],
      ["drop-dead-letters bakery --yes", /^error: say which service: orders/m],
      ["drop-dead-letters orders --before yesterday --yes", /^error: before: Must be a time in UTC/m],
      ["drop-dead-letters orders --partner 7 --yes", /^error: that is no id/m],
      ["clients promote", /^error: say "clients" or: create/m],
      ["clients create erp --methods Orders/Everything", /^error: there is no method "Orders\/Everything"/m],
      ["clients revoke erp", /^error: this destroys the key of erp.*--yes/m],
      ["users promote", /^error: say "users" or: show/m],
      [`users role ${ABSENT} chef --yes`, /^error: there is none with this id/m],
      ["users --role chef", /^error: role: Must be one of: customer/m],
      ["drop-dead-letters --yes", /^error: usage: drop-dead-letters <service>/m],
      [`drop ${ABSENT}`, /^error: this destroys .*--yes/m],
    ];
    const { stderr, code } = await repl([], refusals.map(([line]) => `${line}\n`).join(""));
    expect(code).toBe(1);
    for (const [, message] of refusals) expect(stderr).toMatch(message);
  });

  it("prints the number of matching dead letters, and replays them with --yes, up to --max", async () => {
    const url = databaseUrlOf(it_.dataDir, "notifications");
    const consumer = `c-${newId()}`;
    await query(url, plantedLetters({ consumer, count: REPLAY_MAX + 5, type: "order.paid" }));
    const line = `replay-dead-letters notifications --consumer ${consumer} --type order.paid`;
    const { stdout, stderr, code } = await repl(
      [],
      `${line}\n${line} --max ${REPLAY_MAX + 1} --yes\n${line} --max 0 --yes\n`,
    );
    expect(stdout.split("\n")).toEqual([
      `${REPLAY_MAX + 5} dead letters of notifications match. Repeat it with --yes to replay them.`,
      `${REPLAY_MAX + 1} dead letters of notifications will be delivered again, 4 are left.`,
      "",
    ]);
    expect(stderr).toBe(`${REPLAY_MAX} replayed, 0 refused, 5 left\nerror: --max takes a number from 1\n`);
    expect(code).toBe(1);
  });

  it("prints the number of matching dead letters, and drops all of them with --yes", async () => {
    const url = databaseUrlOf(it_.dataDir, "notifications");
    const consumer = `c-${newId()}`;
    await query(url, plantedLetters({ consumer, count: DROP_MAX + 5, type: "order.paid" }));
    const line = `drop-dead-letters notifications --consumer ${consumer} --type order.paid`;
    const asked = await repl([line]);
    expect(asked.code).toBe(1);
    expect(asked.stderr).toContain(`error: this destroys ${DROP_MAX + 5} dead letters of notifications`);
    const { stdout, code } = await repl([`${line} --before 2999-01-01T00:00:00Z --yes`]);
    expect({ stdout, code }).toEqual({
      stdout: `${DROP_MAX + 5} dead letters of notifications are dropped, 0 are left.\n`,
      code: 0,
    });
    const left = await query(
      url,
      `SELECT 1 FROM inbox WHERE consumer = '${consumer}' AND state <> 'dropped'`,
    );
    expect(left).toEqual([]);
  });

  it("exits with a code other than 0 when a call fails", async () => {
    const { code } = await repl([`call orders.get '{"orderId":"${ABSENT}"}'`]);
    expect(code).toBe(1);
  });

  it("finds a user, suspends with --yes only, restores, and lists invitations, couriers and partners", async () => {
    const api = await connect();
    const { id, email } = await customer(api, { name: `Q${newId().slice(-12)}` });
    const list = await repl([`users --q ${email.slice(0, 20)} --role customer --json`]);
    expect(JSON.parse(list.stdout)).toEqual([expect.objectContaining({ id, state: "active" })]);
    const asked = await repl([`users suspend ${id}`]);
    expect(asked.stderr).toContain(`this destroys the sessions of ${email}`);
    const unsure = await repl([`users role ${id} finance`]);
    expect(unsure.stderr).toContain(`this destroys the present role of ${email}, who becomes finance`);
    const lines = [
      `users suspend ${id} --reason "Lost phone." --yes`,
      `users show ${id}`,
      `users restore ${id}`,
      `users role ${id} support --yes`,
      `users role ${id} customer --yes`,
      "users invite deliverer console-invited@staff.example",
      ...["users --limit 5", "help assign", "couriers", "couriers on-duty", "partners", "invitations"],
    ];
    const { stdout, stderr, code } = await repl([], lines.join("\n"));
    expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
    expect(stdout).toContain(`${email} is suspended, customer.`);
    expect(stdout).toContain(`${email} is active, support.`);
    expect(stdout).toContain(": Lost phone.");
    expect(stdout).toContain(`${email} is active, customer.`);
    for (const heading of [/^USER +ROLE +STATE +EMAIL$/m, /^PARTNER +STATE/m, /^INVITATION +ROLE/m])
      expect(stdout).toMatch(heading);
    expect(stdout.split("\n").filter((line) => line.length > 80)).toEqual([]);
  });

  it("creates a gRPC client, whose key no list shows, and revokes it", async () => {
    const name = `erp-${newId().slice(-12)}`;
    const lines = [
      `clients create ${name} --methods Orders/List,Partners/Get --rate 5 --expires 2999-01-01T00:00:00Z`,
      ...["clients", "clients methods", `clients show ${name}`],
    ];
    const { stdout, stderr, code } = await repl([], lines.join("\n"));
    expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
    expect(stdout.match(/^waybill_[0-9a-f-]{36}_[\w-]{43}$/gm)).toHaveLength(1);
    expect(stdout).toMatch(new RegExp(`^${name} +active +2 `, "m"));
    expect(stdout).toContain("waybill.orders.v1.Orders/List waybill.partners.v1.Partners/Get");
    expect(stdout).toContain("5 calls a second on each node");
    const revoked = await repl([], `clients revoke ${name} --yes\nclients show ${name}\n`);
    expect(revoked.stdout).toContain(`${name} is revoked.`);
    expect(revoked.stdout).toMatch(/^state +revoked \d/m);
  });

  it("explains each command with an example", async () => {
    const { stdout, code } = await repl(["help", "replay"]);
    expect(code).toBe(0);
    expect(stdout).toContain("Example:\n  replay ");
  });

  it("masks secrets, in its environment and in answers", async () => {
    const signIn = JSON.stringify({ email: it_.adminEmail, password: it_.adminPassword });
    const { stdout, code } = await repl([], `env\ncall identity.signIn '${signIn}'\n`);
    expect(code).toBe(0);
    expect(stdout).not.toContain("canary");
    expect(stdout).toMatch(/accessToken: '\*\*\*'/);
  });

  it("reports that no platform runs on the folder", async () => {
    const { stderr, code } = await repl(["banks"], undefined, `${it_.dataDir}/nowhere`);
    expect(code).toBe(69);
    expect(stderr).toMatch(/^no platform runs on .*: npm start\n$/);
  });
});
