/**
 * Countries (ISO 3166-1) whose post delivers without postal codes. They have none, or most people do not know theirs.
 * Source: the address formats that the Universal Postal Union publishes for its members.
 */
const WITHOUT = new Set(
  [
    "AE AG AO AW BF BI BJ BO BQ BS BW BZ CD CF CG CI CK CM CW DJ DM ER FJ GA GD GH GM GN GQ GY HK JM KI KM KN KP",
    "LC LY ML MO MR MS MW NA NR NU PA QA RW SB SC SL SR SS ST SX SY TD TG TK TL TO TT TV TZ UG VC VU WS YE ZW",
  ].flatMap((line) => line.split(" ")),
);

/** Whether an address in this country is complete without a postal code. */
export function needsNoPostalCode(country: string): boolean {
  return WITHOUT.has(country);
}
