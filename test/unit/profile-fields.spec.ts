import { describe, expect, it } from "@jest/globals";
import { personName } from "../../contracts/shared.ts";
import { validatorOf } from "../../contracts/validation.ts";
import { storableName } from "../../services/identity/domain/profile-fields.ts";

const isName = validatorOf({ type: "object", props: { name: personName } } as never);

describe("storableName, of a name from the identity provider,", () => {
  it.each([
    ["'t Hooft", "'t Hooft"],
    ["  Ada\u0000\tLovelace ", "Ada Lovelace"],
    ["<b>Ada</b>", "b Ada /b"],
    ["Ada\u202e", "Ada"],
    ["x".repeat(255), "x".repeat(100)],
    [`${"x".repeat(99)} y`, "x".repeat(99)],
  ])("%j keeps %j, which is a name", (written, kept) => {
    expect(storableName(written)).toBe(kept);
    expect(isName({ name: kept })).toEqual([]);
  });

  it.each([undefined, "", "   ", "\u202e<>"])("%j keeps nothing", (written) => {
    expect(storableName(written)).toBe("");
  });
});
