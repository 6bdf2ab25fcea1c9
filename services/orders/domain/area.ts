import type { Address } from "../../../contracts/shared.ts";

/** Decimals of a position in degrees that is shown in place of an address: about a kilometre. */
const AREA_DECIMALS = 2;

/** The area of an address, without street and house number. */
export function areaOf({ postalCode, city, country, position }: Address): Address {
  const rounded = (degrees: number) => Number(degrees.toFixed(AREA_DECIMALS));
  return {
    ...{ line1: "-", postalCode, city, country },
    ...(position && {
      position: { latitude: rounded(position.latitude), longitude: rounded(position.longitude) },
    }),
  };
}
