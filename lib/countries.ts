import { iso31661Alpha2ToAlpha3 } from "iso-3166/1-a2-to-1-a3.js";

/** ISO 3166-1 alpha-2, and Kosovo, to which the standard has given no code: XK is the one that is used. */
export const countries: readonly string[] = [...Object.keys(iso31661Alpha2ToAlpha3), "XK"].sort();
