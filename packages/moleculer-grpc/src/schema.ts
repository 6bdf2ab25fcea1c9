/** Where the gRPC service of a Moleculer service is defined. */
export interface GrpcExposure {
  /** A file below the proto folder. */
  proto: string;
  /** Full name of the gRPC service in that file. */
  service: string;
}

/** The fields of `ctx.locals` that the bridge sets. */
export interface GrpcLocals {
  /** The node or plain client that called, as its credential proves. */
  peer?: string;
  /** Set on both sides of a call that goes by gRPC. */
  wire?: "grpc";
  /** Aborted when the caller no longer waits for the response. */
  signal?: AbortSignal;
  /** Receives the promise of the handler, which may run on after a timeout. */
  working?: (work: Promise<unknown>) => void;
}

declare module "moleculer" {
  // TypeScript merges the two declarations only when the type parameters are those of Moleculer's own.
  interface ServiceSchema<TSettings, TMethods, TVars, TThis> {
    /** Exposes the service's actions as unary gRPC methods, on brokers with the bridge. */
    grpc?: GrpcExposure;
  }
}
