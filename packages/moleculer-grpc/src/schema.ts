/** Where the gRPC service of a Moleculer service is defined. */
export interface GrpcExposure {
  /** A file below the proto folder. */
  proto: string;
  /** Full name of the gRPC service in that file. */
  service: string;
}

declare module "moleculer" {
  // TypeScript merges the two declarations only when the type parameters are those of Moleculer's own.
  interface ServiceSchema<TSettings, TMethods, TVars, TThis> {
    /** Exposes the service's actions as unary gRPC methods, on brokers with the bridge. */
    grpc?: GrpcExposure;
  }
}
