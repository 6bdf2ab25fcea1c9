/** The names in metadata and paths that nodes and plain clients have to agree on. */
export interface WireNames {
  readonly prefix: string;
  /** Metadata key of the credential of a call. */
  readonly credential: string;
  /** Metadata key of the key of a client that is no node. */
  readonly clientKey: string;
  /** Trailer with the broker's error as JSON. Node's HTTP/2 has room for 16 KB of all headers. */
  readonly error: string;
  /** Metadata keys of the Moleculer context. */
  readonly requestID: string;
  readonly parentID: string;
  readonly caller: string;
  readonly level: string;
  /** Path of the method that peer streams call. */
  readonly peerStream: string;
}

export const DEFAULT_PREFIX = "moleculer";

export function wireNames(prefix: string): WireNames {
  return {
    prefix,
    credential: `${prefix}-credential`,
    clientKey: `${prefix}-client-key`,
    error: `${prefix}-error-bin`,
    requestID: `${prefix}-trace`,
    parentID: `${prefix}-parent`,
    caller: `${prefix}-caller`,
    level: `${prefix}-level`,
    peerStream: `/${prefix}.grpc.v2.Peers/Connect`,
  };
}
