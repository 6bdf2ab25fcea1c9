import { describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import type { Grant, IdentityProvider, IssuedTokens } from "./port.ts";

export const PASSWORD = "Blaubeere-Teppich-91";
export const refused = (kind: string) => expect.objectContaining({ kind });

const byId = (a: { id: string }, b: { id: string }) => (a.id < b.id ? -1 : 1);

interface Person {
  email: string;
  userId: string;
}

/** The part of the conformance suite about sessions. */
export function sessionsConformance({
  provider,
  account,
  signedIn,
  outliveGrace,
}: {
  provider: () => IdentityProvider;
  account: (more?: { confirmed?: boolean; grant?: Grant }) => Promise<Person>;
  signedIn: () => Promise<Person & { tokens: IssuedTokens }>;
  outliveGrace: (sessionId: string) => Promise<void>;
}): void {
  describe("sessions", () => {
    it("refresh continues the session with a new token", async () => {
      const { userId, tokens } = await signedIn();
      const next = await provider().refresh(tokens.refreshToken, {});
      expect(next).toMatchObject({ userId, sessionId: tokens.sessionId });
      expect(next.refreshToken).not.toBe(tokens.refreshToken);
      await expect(provider().refresh(next.refreshToken, {})).resolves.toMatchObject({ userId });
    });

    it("refresh, repeated within the grace period, returns the same successor", async () => {
      const { tokens } = await signedIn();
      const first = await provider().refresh(tokens.refreshToken, {});
      const second = await provider().refresh(tokens.refreshToken, {});
      expect(second.refreshToken).toBe(first.refreshToken);
      await expect(provider().refresh(second.refreshToken, {})).resolves.toBeDefined();
    });

    it("refresh, of one token twenty times at once, leaves one live successor", async () => {
      const { tokens } = await signedIn();
      const answers = await Promise.all(
        Array.from({ length: 20 }, () => provider().refresh(tokens.refreshToken, {})),
      );
      expect(new Set(answers.map(({ refreshToken }) => refreshToken)).size).toBe(1);
      const [answer] = answers as [IssuedTokens];
      await expect(provider().refresh(answer.refreshToken, {})).resolves.toBeDefined();
    });

    it("refresh, of a used token after the grace period, ends the session with all its tokens", async () => {
      const { userId, tokens } = await signedIn();
      const thief = await provider().refresh(tokens.refreshToken, {});
      await outliveGrace(tokens.sessionId);
      await expect(provider().refresh(tokens.refreshToken, {})).rejects.toEqual(refused("session_ended"));
      await expect(provider().refresh(thief.refreshToken, {})).rejects.toEqual(refused("session_ended"));
      await expect(provider().sessions(userId)).resolves.toEqual([]);
    });

    it("refresh, of a token whose successor was used, ends the session within the grace period too", async () => {
      const { tokens } = await signedIn();
      const next = await provider().refresh(tokens.refreshToken, {});
      const last = await provider().refresh(next.refreshToken, {});
      await expect(provider().refresh(tokens.refreshToken, {})).rejects.toEqual(refused("session_ended"));
      await expect(provider().refresh(last.refreshToken, {})).rejects.toEqual(refused("session_ended"));
    });

    it("refresh, of an invalid token, ends no session", async () => {
      const { tokens } = await signedIn();
      const { refreshToken } = tokens;
      const changed = refreshToken.slice(0, -4) + (refreshToken.endsWith("AAAA") ? "BBBB" : "AAAA");
      for (const rubbish of [changed, "", "rubbish", tokens.accessToken, `${tokens.sessionId}.0.`]) {
        await expect(provider().refresh(rubbish, {})).rejects.toEqual(refused("token_invalid"));
      }
      await expect(provider().refresh(refreshToken, {})).resolves.toBeDefined();
    });

    it("sessions returns the live ones, and endSession ends only a session of the user", async () => {
      const { email, userId, tokens } = await signedIn();
      const other = await provider().signIn(email, PASSWORD, { userAgent: "Phone", ip: "192.0.2.7" });
      const listed = await provider().sessions(userId);
      expect(listed.map(({ id }) => id).sort()).toEqual([tokens.sessionId, other.sessionId].sort());

      const stranger = await account();
      await expect(provider().endSession(stranger.userId, other.sessionId)).resolves.toBe(false);
      await expect(provider().endSession(userId, newId())).resolves.toBe(false);
      await expect(provider().endSession(userId, other.sessionId)).resolves.toBe(true);
      await expect(provider().endSession(userId, other.sessionId)).resolves.toBe(true);
      await expect(provider().refresh(other.refreshToken, {})).rejects.toEqual(refused("session_ended"));
      expect((await provider().sessions(userId)).map(({ id }) => id)).toEqual([tokens.sessionId]);
    });

    it("endSessions ends all but one and returns the ended ones", async () => {
      const { email, userId, tokens } = await signedIn();
      const others = [
        await provider().signIn(email, PASSWORD, {}),
        await provider().signIn(email, PASSWORD, {}),
      ];
      const ended = await provider().endSessions(userId, tokens.sessionId);
      expect(ended.sort()).toEqual(others.map(({ sessionId }) => sessionId).sort());
      await expect(provider().endSessions(userId)).resolves.toEqual([tokens.sessionId]);
      await expect(provider().endSessions(userId)).resolves.toEqual([]);
      await expect(provider().refresh(tokens.refreshToken, {})).rejects.toEqual(refused("session_ended"));
    });
  });

  it("endedSessions returns each ended session until it is marked as published", async () => {
    const { email, userId, tokens } = await signedIn();
    const [second, third] = [
      await provider().signIn(email, PASSWORD, {}),
      await provider().signIn(email, PASSWORD, {}),
    ];
    expect(await provider().endedSessions(10, userId)).toEqual([]);
    await provider().endSession(userId, second.sessionId);
    await provider().endSessions(userId, tokens.sessionId);
    const over = await provider().endedSessions(10, userId);
    const ended = [second, third].map(({ sessionId: id }) => ({ id, userId }));
    expect(over.toSorted(byId)).toEqual(ended.toSorted(byId));
    expect(await provider().endedSessions(1, userId)).toHaveLength(1);
    expect(await provider().endedSessions(1_000)).toEqual(expect.arrayContaining(over));

    await provider().markPublished([...over.map(({ id }) => id), tokens.sessionId]);
    expect(await provider().endedSessions(10, userId)).toEqual([]);
    await provider().endSessions(userId);
    expect(await provider().endedSessions(10, userId)).toEqual([{ id: tokens.sessionId, userId }]);
  });

  it("endedSessions returns a session that ended because its token was reused", async () => {
    const { userId, tokens } = await signedIn();
    await provider().refresh(tokens.refreshToken, {});
    await outliveGrace(tokens.sessionId);
    await expect(provider().refresh(tokens.refreshToken, {})).rejects.toEqual(refused("session_ended"));
    expect(await provider().endedSessions(10, userId)).toEqual([{ id: tokens.sessionId, userId }]);
  });
}
