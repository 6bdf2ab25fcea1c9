import { needsNoPostalCode } from "../lib/postal-codes.ts";
import { invalidField } from "./errors.ts";
import type { Address } from "./shared.ts";

/** @throws VALIDATION_ERROR for an address without a postal code in a country that has postal codes */
export function requirePostalCode(address: Address | undefined): void {
  if (address?.postalCode !== "" || needsNoPostalCode(address.country)) return;
  throw invalidField("address.postalCode", "postalCode", "Is required in this country.");
}
