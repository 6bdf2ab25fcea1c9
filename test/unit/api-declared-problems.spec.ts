import { describe, expect, it } from "@jest/globals";
import { endpointOf } from "../../services/api/pipeline/endpoint.ts";
import { routes } from "../../services/api/routes/index.ts";

/*
 * The tests over all operations take the declared problems from the code that declares them. Here some operations of
 * each shape are written down by hand.
 */

const ALWAYS = [
  "BAD_REQUEST",
  "TOO_MANY_REQUESTS",
  "INTERNAL",
  "SERVICE_UNAVAILABLE",
  "DEADLINE_EXCEEDED",
  "OVERLOADED",
];
const JSON_BODY = ["BAD_JSON", "PAYLOAD_TOO_LARGE", "UNSUPPORTED_MEDIA_TYPE"];
const SIGNED_IN = ["UNAUTHENTICATED", "SESSION_REVOKED"];
const KEYED = ["IDEMPOTENCY_IN_FLIGHT", "IDEMPOTENCY_MISMATCH"];

const declared: Record<string, string[]> = {
  "POST /sessions": [
    ...JSON_BODY,
    "VALIDATION_ERROR",
    "INVALID_CREDENTIALS",
    "EMAIL_NOT_CONFIRMED",
    "ACCOUNT_SUSPENDED",
  ],
  "PATCH /me": [
    ...[...JSON_BODY, ...SIGNED_IN, "VALIDATION_ERROR", "PRECONDITION_FAILED"],
    ...["EMAIL_TAKEN", "INVALID_CREDENTIALS"],
  ],
  "PUT /me/avatar": [
    ...[...SIGNED_IN, "PAYLOAD_TOO_LARGE", "UNSUPPORTED_MEDIA_TYPE", "VALIDATION_ERROR"],
    ...["IMAGE_INVALID", "IMAGE_TOO_LARGE"],
  ],
  "POST /orders/confirm": [
    ...[...JSON_BODY, ...SIGNED_IN, "FORBIDDEN", "VALIDATION_ERROR", "NOT_FOUND"],
    ...[...KEYED, "IDEMPOTENCY_KEY_REQUIRED"],
    ...["CHECK_EXPIRED", "CHECK_USED", "QUOTE_CHANGED", "PARTNER_CLOSED", "PRODUCT_UNAVAILABLE"],
    ...["BANK_INACTIVE", "BANK_UNAVAILABLE"],
  ],
  "POST /webhooks/payments/{bank_id}": ["PAYLOAD_TOO_LARGE", "BAD_SIGNATURE", "EVENT_MISMATCH"],
  "POST /dead-letters/{dead_letter_id}/replay": [
    ...[...SIGNED_IN, "FORBIDDEN", "VALIDATION_ERROR", "NOT_FOUND", "ILLEGAL_TRANSITION"],
    ...KEYED,
  ],
  "DELETE /dead-letters/{dead_letter_id}": [...SIGNED_IN, "FORBIDDEN", "VALIDATION_ERROR", "NOT_FOUND"],
  "DELETE /dead-letters": [...SIGNED_IN, "FORBIDDEN", "VALIDATION_ERROR"],
  "GET /track/{token}": ["VALIDATION_ERROR", "NOT_FOUND"],
};

describe("the problems that an operation declares", () => {
  it.each(Object.entries(declared))("%s", (operation, problems) => {
    const route = routes.find(({ method, path }) => `${method} ${path}` === operation);
    if (!route) throw new Error(`There is no ${operation}.`);
    const types = [...endpointOf(route).problems.values()].flat();
    expect(types.sort()).toEqual([...ALWAYS, ...problems].sort());
  });
});
