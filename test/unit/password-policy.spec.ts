import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { isCommonPassword, refuseCommonPassword } from "../../services/identity/domain/password-policy.ts";

describe("the password policy", () => {
  it.each([
    "password",
    "Password1!",
    "P@ssw0rd2024!",
    "PASSWORT123",
    "12345678",
    "87654321",
    "123456789012",
    "aaaaaaaa",
    "abcabcabcabc",
    "abcdefgh",
    "qwertyuiop",
    "poiuytrewq",
    "asdfghjkl",
    "iloveyou",
    "!!monkey99",
    "monkeymonkey",
    "Summer2026!",
    "trustno1!",
    "letmein!!",
    "11111111111111111111",
    "1q2w3e4r",
    "q1w2e3r4t5",
    "a1b2c3d4",
    "1qaz2wsx",
    "zaq12wsx",
    "1qazxsw2",
    "qazwsx123",
    "abc12345",
    "aa123456",
    "qwe123456",
    "1234qwer",
    "asdf1234",
    "123123123a",
    "987654321a",
    "password1234567",
    "monkey482913",
    "1234567890-=",
    "147258369",
    "789456123",
    "5201314520",
    "112233445566",
    "woaini520",
    "bismillah",
    "pass word1",
    "Pass-Word-1",
    "Pässwörd1",
    "ｐａｓｓｗｏｒｄ１",
    "dragon-monkey",
    "Weihnachten2024!",
    "willkommen",
    "cat2024!",
    "drowssap1",
    "123456789",
    "a".repeat(128),
    "password".repeat(16),
    "1".repeat(64) + "a".repeat(64),
  ])("refuses %s", async (password) => {
    expect(await isCommonPassword(password)).toBe(true);
    await expect(refuseCommonPassword(password)).rejects.toMatchObject({ type: "PASSWORD_TOO_COMMON" });
  });

  it.each([
    "correct horse battery staple",
    "vK8#mQ2z!p",
    "Blaubeere-Teppich-91",
    "password manager of my aunt",
    "пароль-и-ещё-слово",
    "dragon monkey football",
    "kx83-qa61-pv",
    "49281730561847",
    "zwölf Boxkämpfer jagen",
    "Kq7-vXz2",
    "monkey4829137",
    `${"\u{1f511}".repeat(20)}kx83qa61pvw0`,
  ])("takes %s", async (password) => {
    expect(await isCommonPassword(password)).toBe(false);
  });

  it("refuses well-known data of the user: address, its parts and the name", async () => {
    const personal = ["grete.hansen@example.org", "Grete", "Hansen"];
    for (const password of ["grete.hansen@example.org", "Grete123!", "hansen2024", "GreteGrete"]) {
      expect(await isCommonPassword(password, personal)).toBe(true);
    }
    expect(await isCommonPassword("grete walks her dog", personal)).toBe(false);
  });

  it("accepts any text as input", async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ maxLength: 128, unit: "grapheme" }), async (text) => {
        expect(typeof (await isCommonPassword(text, [text.slice(0, 5), undefined]))).toBe("boolean");
      }),
    );
  });

  it.each([
    ["digits and letters", "1".repeat(64) + "a".repeat(64)],
    ["a word with replaced letters, repeated", "p@55w0rd1".repeat(15).slice(0, 128)],
    ["signs that replace letters", "4@8({[<369&#!1/|0$5+7%2".repeat(6).slice(0, 128)],
    ["brackets", "()".repeat(64)],
  ])("checks %s of the greatest length within half a second of CPU", async (_, password) => {
    await isCommonPassword("loads the list");
    const before = process.cpuUsage();
    await isCommonPassword(password, ["a".repeat(128)]);
    const { user, system } = process.cpuUsage(before);
    expect((user + system) / 1_000).toBeLessThan(500);
  });
});
