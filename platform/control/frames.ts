import type { Socket } from "node:net";

const MAX_FRAME_BYTES = 16 * 1024 * 1024;

/** One JSON value per line, in both directions. A line that is too long or not JSON ends the connection. */
export function frames<In, Out>(socket: Socket, receive: (frame: In) => void): { send(frame: Out): void } {
  let pending = "";
  socket.setEncoding("utf8");
  socket.on("data", (chunk: string) => {
    pending += chunk;
    if (pending.length > MAX_FRAME_BYTES) return socket.destroy();
    const lines = pending.split("\n");
    pending = lines.pop() ?? "";
    for (const line of lines) {
      try {
        receive(JSON.parse(line));
      } catch {
        return socket.destroy();
      }
    }
  });
  return {
    send(frame) {
      if (socket.writable) socket.write(`${JSON.stringify(frame)}\n`);
    },
  };
}
