/** Where the methods of a service stand: a file below the proto folder, and the full name of the service in it. */
export interface GrpcExposure {
  proto: string;
  service: string;
}

declare module "moleculer" {
  // The parameters have to be those of the framework's own declaration, or the two do not merge.
  interface ServiceSchema<TSettings, TMethods, TVars, TThis> {
    /** Exposes the service's actions as unary gRPC methods; works on nodes that have the bridge. */
    grpc?: GrpcExposure;
  }
}
