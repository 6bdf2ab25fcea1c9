import type { GaugeResult } from "../../mixins/health/health.mixin.ts";

/** What an operator's program may ask of the process itself, with the answer to each. */
export interface ControlRequests {
  /** The platform to join, the services that it runs, and whether it is ready. */
  hello: {
    params: object;
    result: { namespace: string; services: readonly string[]; pid: number; ready: boolean };
  };
  /** What the services count now. */
  gauges: { params: object; result: { gauges: GaugeResult[] } };
  /** The collections of documents that can be made anew. */
  collections: { params: object; result: { collections: string[] } };
  /** Makes one anew from PostgreSQL. */
  rebuild: { params: { collection: string }; result: { documents: number } };
  /** An access token of the local operator, for the actions that ask who calls. */
  token: { params: object; result: { token: string } };
  /** Makes an admin, unless there is one with this address. */
  createAdmin: {
    params: { email: string; password: string };
    result: { userId: string; created: boolean };
  };
}

export type ControlRequest = keyof ControlRequests;

/** Of one connection: requests with their answers, and the transporter's packets (data in base64). */
export type ToPlatform =
  | { request: ControlRequest; id: number; params: object }
  | { subscribe: string }
  | { topic: string; data: string };
export type FromPlatform =
  | { id: number; result: unknown }
  | { id: number; error: { type: string; message: string } }
  | { topic: string; data: string };
