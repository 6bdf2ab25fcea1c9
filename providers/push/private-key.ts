import { createPrivateKey, type KeyObject } from "node:crypto";

const RSA_MIN_BITS = 2_048;

/**
 * Parses a private key; undefined when it is not of this kind.
 * @param pem its line ends may be written as `\n`, as in a JSON file
 */
export function privateKeyOf(pem: string, kind: "RSA" | "P-256"): KeyObject | undefined {
  try {
    const key = createPrivateKey(pem.replaceAll("\\n", "\n"));
    const { modulusLength = 0, namedCurve } = key.asymmetricKeyDetails ?? {};
    const fits = kind === "RSA" ? modulusLength >= RSA_MIN_BITS : namedCurve === "prime256v1";
    return fits ? key : undefined;
  } catch {
    return undefined;
  }
}
