import type { GaugeResult } from "../../mixins/health/health.mixin.ts";

/** The requests of operators' programs to the process, with their results. */
export interface ControlRequests {
  /** The platform to join, the services that it runs, and whether it is ready. */
  hello: {
    params: object;
    result: { namespace: string; services: readonly string[]; pid: number; ready: boolean };
  };
  /** The current gauges of the services. */
  gauges: { params: object; result: { gauges: GaugeResult[] } };
  /** The collections of documents that can be rebuilt. */
  collections: { params: object; result: { collections: string[] } };
  /** Rebuilds a collection from PostgreSQL. */
  rebuild: { params: { collection: string }; result: { documents: number } };
  /** An access token of the local operator. */
  token: { params: object; result: { token: string } };
  /** Creates an admin, unless there is one with this address. */
  createAdmin: {
    params: { email: string; password: string };
    result: { userId: string; created: boolean };
  };
}

export type ControlRequest = keyof ControlRequests;

/** The frames of a connection: requests with their answers, and packets of the transporter (data in base64). */
export type ToPlatform =
  | { request: ControlRequest; id: number; params: object }
  | { subscribe: string }
  | { topic: string; data: string };
export type FromPlatform =
  | { id: number; result: unknown }
  | { id: number; error: { type: string; message: string } }
  | { topic: string; data: string };
