import { createConnection } from "node:net";
import { fail } from "../../contracts/errors.ts";
import { controlSocketPath } from "./address.ts";
import { frames } from "./frames.ts";
import type { ControlRequest, ControlRequests, FromPlatform, ToPlatform } from "./protocol.ts";

const CONNECT_TIMEOUT_MS = 3_000;
/** Long, because a rebuild reads all rows. */
const ANSWER_TIMEOUT_MS = 120_000;

/** No platform listens on the control socket of the data folder. */
export class NotRunning extends Error {}

export interface ControlConnection {
  request<R extends ControlRequest>(
    name: R,
    params: ControlRequests[R]["params"],
  ): Promise<ControlRequests[R]["result"]>;
  subscribe(topic: string, receive: (data: Buffer) => void): void;
  publish(topic: string, data: Buffer): void;
  /** Called when the platform ends the connection. */
  onLost(listener: () => void): void;
  close(): void;
}

interface Waiting {
  resolve: (result: never) => void;
  reject: (error: Error) => void;
  timer: NodeJS.Timeout;
}

/** Connects to the platform that runs on a data folder of this machine. @throws NotRunning */
export async function connectToPlatform(dataDir: string): Promise<ControlConnection> {
  const socket = createConnection(controlSocketPath(dataDir));
  await new Promise<void>((resolve, reject) => {
    const notRunning = () => reject(new NotRunning(`no platform runs on ${dataDir}: npm start`));
    socket.setTimeout(CONNECT_TIMEOUT_MS, notRunning);
    socket.once("error", notRunning).once("connect", resolve);
  });
  socket.setTimeout(0);
  socket.on("error", () => undefined);

  const waiting = new Map<number, Waiting>();
  const subscriptions = new Map<string, (data: Buffer) => void>();
  let lastId = 0;
  const { send } = frames<FromPlatform, ToPlatform>(socket, (frame) => {
    if ("topic" in frame) return subscriptions.get(frame.topic)?.(Buffer.from(frame.data, "base64"));
    const answered = waiting.get(frame.id);
    if (!answered) return;
    waiting.delete(frame.id);
    clearTimeout(answered.timer);
    if ("error" in frame) answered.reject(new Error(frame.error.message));
    else answered.resolve(frame.result as never);
  });
  socket.on("close", () => {
    for (const { reject, timer } of waiting.values()) {
      clearTimeout(timer);
      reject(fail("SERVICE_UNAVAILABLE", "The platform has stopped."));
    }
    waiting.clear();
  });
  return {
    request: (request, params) =>
      new Promise((resolve, reject) => {
        const id = ++lastId;
        const late = () => {
          waiting.delete(id);
          reject(fail("DEADLINE_EXCEEDED", "The platform does not answer."));
        };
        waiting.set(id, { resolve, reject, timer: setTimeout(late, ANSWER_TIMEOUT_MS) });
        send({ request, id, params });
      }),
    subscribe(topic, receive) {
      subscriptions.set(topic, receive);
      send({ subscribe: topic });
    },
    publish: (topic, data) => send({ topic, data: data.toString("base64") }),
    onLost: (listener) => void socket.once("close", listener),
    close: () => socket.end(),
  };
}
