import { isIP } from "node:net";

/** One entry of the catalogue: the meaning and the allowed values of an environment variable. */
export interface Setting<T> {
  readonly about: string;
  readonly kind: string;
  /** Reads the text of the variable. @throws Error with the reason, never with the value. */
  readonly parse: (text: string) => T;
  /** The value of an unset variable. */
  readonly fallback?: T;
  /** The value is never printed or shown. */
  readonly secret?: boolean;
  /**
   * The services that require it in production, and in a process that runs only some of the services. Elsewhere the
   * launcher supplies a value.
   */
  readonly neededBy?: readonly string[];
}

type Options<T> = Partial<Pick<Setting<T>, "fallback" | "neededBy">>;

/** Generic over its options: with a fallback, the type of the variable does not contain `undefined`. */
export function text<const O extends Options<string>>(about: string, options: O = {} as O) {
  return { about, kind: "text", parse: (value: string) => value, ...options } satisfies Setting<string>;
}

/** A text that matches `pattern`. @param must completes the error "NAME must …" */
export function shaped<const O extends Options<string>>(
  about: string,
  pattern: RegExp,
  must: string,
  options: O = {} as O,
) {
  const parse = (value: string) => {
    if (!pattern.test(value)) throw new Error(`must ${must}`);
    return value;
  };
  return { about, kind: "text", parse, ...options } satisfies Setting<string>;
}

export function choice<const V extends string, const O extends Options<V>>(
  about: string,
  allowed: readonly V[],
  options: O = {} as O,
) {
  const parse = (value: string) => {
    if (!allowed.includes(value as V)) throw new Error(`must be one of ${allowed.join(", ")}`);
    return value as V;
  };
  return { about, kind: allowed.join(", "), parse, ...options } satisfies Setting<V>;
}

/** An IP address or a host name, without a port. */
export function host(about: string, fallback: string) {
  const name = /^(?=.{1,253}$)[a-z0-9]([a-z0-9.-]*[a-z0-9])?$|^[0-9a-f:.]*:[0-9a-f:.]*$/i;
  return shaped(about, name, "be an IP address or a host name", { fallback });
}

export function port(about: string, fallback: number) {
  return integer(about, 0, 65_535, { fallback });
}

export function integer<const O extends Options<number>>(
  about: string,
  min: number,
  max: number,
  options: O = {} as O,
) {
  const parse = (value: string) => {
    const parsed = /^\d{1,15}$/.test(value) ? Number(value) : Number.NaN;
    if (!(parsed >= min && parsed <= max)) throw new Error(`must be a whole number from ${min} to ${max}`);
    return parsed;
  };
  return { about, kind: `${min}..${max}`, parse, ...options } satisfies Setting<number>;
}

export function flag(about: string, fallback: boolean) {
  const parse = (value: string) => {
    if (value !== "true" && value !== "false") throw new Error("must be true or false");
    return value === "true";
  };
  return { about, kind: "true or false", parse, fallback } satisfies Setting<boolean>;
}

export function url<const O extends Options<string>>(
  about: string,
  protocols: string[],
  options: O = {} as O,
) {
  const parse = (value: string) => {
    const parsed = URL.canParse(value) ? new URL(value) : undefined;
    if (!parsed || !protocols.includes(parsed.protocol.slice(0, -1))) {
      throw new Error(`must be a URL that starts with ${protocols.map((p) => `${p}://`).join(" or ")}`);
    }
    return value.replace(/\/$/, "");
  };
  return { about, kind: "URL", parse, ...options } satisfies Setting<string>;
}

export function list<const V extends string>(about: string, allowed: readonly V[], fallback: V[]) {
  const parse = (value: string) => {
    const parts = value.split(",").map((part) => part.trim());
    const wrong = parts.filter((part) => !allowed.includes(part as V));
    if (wrong.length > 0) throw new Error(`takes a comma-separated list of ${allowed.join(", ")}`);
    return parts as V[];
  };
  return { about, kind: allowed.join(", "), parse, fallback } satisfies Setting<V[]>;
}

/** A comma-separated list of IP addresses and networks in CIDR notation, as text. Unset: an empty list. */
export function networks(about: string) {
  const parse = (value: string) => {
    if (!value.split(",").every((entry) => isNetwork(entry.trim()))) {
      throw new Error("must be a comma-separated list of addresses or networks such as 10.0.0.0/8");
    }
    return value;
  };
  return { about, kind: "text", parse, fallback: "" } satisfies Setting<string>;
}

function isNetwork(entry: string): boolean {
  const [address = "", bits = "0", ...more] = entry.split("/");
  const maxBits = isIP(address) === 6 ? 128 : 32;
  // An address with a zone (`fe80::1%eth0`) is valid on one machine only, and BlockList of Node refuses it.
  const isAddress = isIP(address) !== 0 && !address.includes("%");
  return isAddress && /^\d{1,3}$/.test(bits) && Number(bits) <= maxBits && more.length === 0;
}

/** A secret of another server. It is not checked, and never shown. */
export function password(about: string) {
  return { about, kind: "secret", parse: (value: string) => value, secret: true } satisfies Setting<string>;
}

/** A secret of this platform: at least 32 characters. Common placeholders such as "changeme" are refused. */
export function secret(about: string, neededBy: readonly string[] = []) {
  const parse = (value: string) => {
    if (value.length < 32) throw new Error("must have at least 32 characters (openssl rand -base64 32)");
    if (/^(.)\1+$/.test(value) || /changeme|example|password|default/i.test(value)) {
      throw new Error("is a default or an example; make your own (openssl rand -base64 32)");
    }
    return value;
  };
  return {
    about,
    kind: "secret",
    parse,
    secret: true,
    neededBy,
  } satisfies Setting<string>;
}
