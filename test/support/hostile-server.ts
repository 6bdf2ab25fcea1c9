import { type AddressInfo, createServer, type Socket } from "node:net";
import { gzipSync } from "node:zlib";

const DRIP_INTERVAL_MS = 10;
const FLOOD_CHUNK = 16_384;
const PACKED = gzipSync(Buffer.alloc(16 * 1_048_576));

/** Handles one connection of a server. */
export type Behaviour = (socket: Socket) => void;

export interface HostileServer {
  name: string;
  port: number;
}

export interface HostileServers {
  servers: readonly HostileServer[];
  /** How many connections the clients have left open, by the behaviour's name. */
  open(): Record<string, number>;
  stop(): Promise<void>;
}

/** One server on a port of its own for each behaviour, so that a client can be tried against all of them at once. */
export async function startHostile(behaviours: Readonly<Record<string, Behaviour>>): Promise<HostileServers> {
  const started = await Promise.all(
    Object.entries(behaviours).map(async ([name, behave]) => {
      const sockets = new Set<Socket>();
      const server = createServer({ noDelay: true }, (socket) => {
        sockets.add(socket);
        socket.on("error", () => undefined);
        socket.once("close", () => sockets.delete(socket));
        behave(socket);
      });
      await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
      return { name, server, sockets, port: (server.address() as AddressInfo).port };
    }),
  );
  return {
    servers: started.map(({ name, port }) => ({ name, port })),
    open: () =>
      Object.fromEntries(
        started.flatMap(({ name, sockets }) => (sockets.size > 0 ? [[name, sockets.size]] : [])),
      ),
    async stop() {
      for (const { sockets } of started) for (const socket of sockets) socket.destroy();
      await Promise.all(started.map(({ server }) => new Promise((closed) => server.close(closed))));
    },
  };
}

/** Each phase of an HTTP/1.1 answer, ended in every wrong way. None of them is a complete answer with a 2xx status. */
export const hostileHttp: Readonly<Record<string, Behaviour>> = {
  "accepts and never reads": (socket) => socket.pause(),
  "reads and says nothing": (socket) => socket.resume(),
  "closes at once": (socket) => socket.resume().end(),
  "resets at once": (socket) => socket.resetAndDestroy(),
  "closes after the request": after((socket) => socket.end()),
  "resets after the request": after((socket) => socket.resetAndDestroy()),
  "speaks another protocol": after((socket) => socket.write("220 mail.example ESMTP\r\n")),
  "sends half a status line": after((socket) => socket.write("HTTP/1.1 20")),
  "closes within the status line": after((socket) => socket.end("HTTP/1.1 2")),
  "sends half a head": after((socket) => socket.write("HTTP/1.1 200 OK\r\ncontent-type: appli")),
  "closes within the head": after((socket) => socket.end("HTTP/1.1 200 OK\r\ncontent-type: appli")),
  "resets within the head": after((socket) =>
    socket.write("HTTP/1.1 200 OK\r\ncontent-", () => socket.resetAndDestroy()),
  ),
  "sends a head byte by byte": after((socket) => drip(socket, "HTTP/1.1 200 OK\r\nx: ", "y")),
  "sends endless header fields": after((socket) => flood(socket, "HTTP/1.1 200 OK\r\n", "x-more: yes\r\n")),
  "changes the protocol without being asked": after((socket) =>
    socket.write("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"),
  ),
  "changes the protocol and goes on talking": after((socket) =>
    drip(socket, "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: tcp\r\n\r\n", "x"),
  ),
  "sends informational answers for ever": after((socket) =>
    drip(socket, "", "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"),
  ),
  "floods with informational answers": after((socket) => flood(socket, "", "HTTP/1.1 100 Continue\r\n\r\n")),
  "redirects to itself": after((socket) =>
    socket.write("HTTP/1.1 307 Temporary Redirect\r\nlocation: /\r\ncontent-length: 0\r\n\r\n"),
  ),
  "refuses with a body that never comes": after((socket) =>
    socket.write("HTTP/1.1 400 Bad Request\r\ncontent-length: 5\r\n\r\n"),
  ),
  "fails with half a body": after((socket) =>
    socket.end("HTTP/1.1 500 Internal Server Error\r\ncontent-length: 50\r\n\r\nhalf"),
  ),
  "fails with a body that is reset": after((socket) =>
    socket.write("HTTP/1.1 500 Internal Server Error\r\ncontent-length: 50\r\n\r\nhalf", () =>
      socket.resetAndDestroy(),
    ),
  ),
  "fails with a body byte by byte": after((socket) =>
    drip(socket, "HTTP/1.1 500 Internal Server Error\r\ntransfer-encoding: chunked\r\n\r\n", "1\r\nx\r\n"),
  ),
  "fails with an endless body": after((socket) =>
    flood(
      socket,
      "HTTP/1.1 500 Internal Server Error\r\ntransfer-encoding: chunked\r\n\r\n",
      `400\r\n${"x".repeat(1_024)}\r\n`,
    ),
  ),
  "fails with a body of an endless length": after((socket) =>
    flood(socket, "HTTP/1.1 500 Oops\r\ncontent-length: 9007199254740991\r\n\r\n", "x".repeat(1_024)),
  ),
  "fails with a wrong chunk size": after((socket) =>
    socket.write("HTTP/1.1 500 Oops\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"),
  ),
  "fails with endless trailers": after((socket) =>
    flood(socket, "HTTP/1.1 500 Oops\r\ntransfer-encoding: chunked\r\n\r\n0\r\n", "x: y\r\n"),
  ),
  "fails with a body that is unpacked to a thousand times its size": after((socket) => {
    socket.write(`HTTP/1.1 500 Oops\r\ncontent-encoding: gzip\r\ncontent-length: ${PACKED.length}\r\n\r\n`);
    socket.write(PACKED);
  }),
};

/** Faults of the TLS handshake, before any answer. */
export const hostileTls: Readonly<Record<string, Behaviour>> = {
  "never answers the TLS hello": (socket) => socket.resume(),
  "answers half a TLS hello": after((socket) => socket.write(Buffer.from("160303007a0200", "hex"))),
  "answers the TLS hello byte by byte": after((socket) => drip(socket, "\x16\x03\x03\x00\x7a\x02", "\x00")),
  "answers the TLS hello with an alert": after((socket) => socket.end(Buffer.from("15030300020228", "hex"))),
  "answers the TLS hello in plain text": after((socket) =>
    socket.end("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"),
  ),
  "resets after the TLS hello": after((socket) => socket.resetAndDestroy()),
};

/** Each phase of a session by SMTP, ended in every wrong way. No mail is accepted. */
export const hostileSmtp: Readonly<Record<string, Behaviour>> = {
  "says nothing": (socket) => socket.resume(),
  "closes at once": (socket) => socket.resume().end(),
  "resets at once": (socket) => socket.resetAndDestroy(),
  "greets by halves": (socket) => socket.write("220 mail.ex"),
  "greets byte by byte": (socket) => drip(socket, "220 ", "x"),
  "greets for ever": (socket) => flood(socket, "", "220-more\r\n"),
  "speaks another protocol": (socket) => socket.write("HTTP/1.1 200 OK\r\n\r\n"),
  "never answers after its greeting": smtp({ EHLO: () => undefined }),
  "answers EHLO for ever": smtp({ EHLO: (socket) => flood(socket, "", "250-MORE\r\n") }),
  "closes at the sender": smtp({ MAIL: (socket) => socket.end() }),
  "never answers to the recipient": smtp({ RCPT: () => undefined }),
  "never lets the text begin": smtp({ DATA: () => undefined }),
  "resets when the text begins": smtp({ DATA: (socket) => socket.resetAndDestroy() }),
  "never answers to the text": smtp({ ".": () => undefined }),
  "answers to the text byte by byte": smtp({ ".": (socket) => drip(socket, "250-", "x") }),
  "answers to the text for ever": smtp({ ".": (socket) => drip(socket, "", "250-more\r\n") }),
  "stops within STARTTLS": smtp({ STARTTLS: (socket) => socket.write("220 go\r\n") }, "250 STARTTLS\r\n"),
};

const FRAME = { data: 0, headers: 1, reset: 3, settings: 4, ping: 6, goAway: 7, continuation: 9 } as const;
const END_HEADERS = 4;
/** `:status: 200` and `:status: 103` in HPACK. */
const STATUS_200 = Buffer.from([0x88]);
const STATUS_103 = Buffer.from([0x08, 0x03, 0x31, 0x30, 0x33]);
const NO_WINDOW = Buffer.from([0, 4, 0, 0, 0, 0]);

/** Each phase of an answer by HTTP/2, ended in every wrong way. No request is answered completely. */
export const hostileHttp2: Readonly<Record<string, Behaviour>> = {
  "says nothing": (socket) => socket.resume(),
  "closes at once": (socket) => socket.resume().end(),
  "resets at once": (socket) => socket.resetAndDestroy(),
  "speaks HTTP/1.1": after((socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n")),
  "sends half a frame": after((socket) => socket.write(Buffer.from("00000604", "hex"))),
  "agrees and says nothing": http2(() => undefined),
  "agrees and closes": http2((socket) => socket.end()),
  "asks everybody to leave at once": http2((socket) => socket.write(goAway(0))),
  "asks everybody to leave for an error": http2((socket) => socket.write(goAway(0, 11))),
  "asks to leave and goes on saying nothing": http2((socket) => socket.write(goAway(2 ** 31 - 1))),
  "resets the stream": http2((socket) => socket.write(frame(FRAME.reset, 0, 1, Buffer.from([0, 0, 0, 2])))),
  "takes no request body": (socket) => {
    socket.resume();
    socket.write(frame(FRAME.settings, 0, 0, NO_WINDOW));
  },
  "sends half a head": http2((socket) => socket.write(frame(FRAME.headers, 0, 1, STATUS_200))),
  "sends a head without an end": http2((socket) =>
    flood(socket, frame(FRAME.headers, 0, 1, STATUS_200), frame(FRAME.continuation, 0, 1, Buffer.alloc(0))),
  ),
  "sends informational answers for ever": http2((socket) =>
    drip(socket, "", frame(FRAME.headers, END_HEADERS, 1, STATUS_103)),
  ),
  "answers and never ends the stream": http2((socket) =>
    socket.write(frame(FRAME.headers, END_HEADERS, 1, STATUS_200)),
  ),
  "answers byte by byte": http2((socket) =>
    drip(socket, frame(FRAME.headers, END_HEADERS, 1, STATUS_200), frame(FRAME.data, 0, 1, Buffer.from("x"))),
  ),
  "floods with pings": http2((socket) => flood(socket, "", frame(FRAME.ping, 0, 0, Buffer.alloc(8)))),
};

/** Acts once the client has said something. */
function after(act: Behaviour): Behaviour {
  return (socket) => {
    socket.once("data", () => act(socket));
  };
}

/** Acts once the client's connection is agreed upon and its first request has come. */
function http2(act: Behaviour): Behaviour {
  return (socket) => {
    let heard = Buffer.alloc(0);
    let acted = false;
    socket.write(frame(FRAME.settings, 0, 0));
    socket.on("data", (chunk: Buffer) => {
      heard = acted ? heard : Buffer.concat([heard, chunk]);
      // The path stands in the request's head, and in nothing that comes before it.
      if (acted || heard.length < 120) return;
      acted = true;
      socket.write(frame(FRAME.settings, 1, 0));
      act(socket);
    });
  };
}

function frame(type: number, flags: number, stream: number, payload = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

function goAway(lastStream: number, code = 0): Buffer {
  const payload = Buffer.alloc(8);
  payload.writeUInt32BE(lastStream, 0);
  payload.writeUInt32BE(code, 4);
  return frame(FRAME.goAway, 0, 0, payload);
}

/** A mail server that is as it should be but for these commands. */
function smtp(instead: Readonly<Record<string, Behaviour>>, extensions = "250 8BITMIME\r\n"): Behaviour {
  return (socket) => {
    let inText = false;
    let heard = "";
    socket.write("220 mail.example\r\n");
    socket.on("data", (chunk) => {
      heard += chunk;
      for (let end = heard.indexOf("\r\n"); end >= 0; end = heard.indexOf("\r\n")) {
        const line = heard.slice(0, end);
        heard = heard.slice(end + 2);
        if (inText && line !== ".") continue;
        const command = inText ? "." : (line.split(" ")[0] ?? "").toUpperCase();
        inText = command === "DATA";
        const act = instead[command];
        if (act) {
          act(socket);
          return;
        }
        if (command === "EHLO") socket.write(`250-mail.example\r\n${extensions}`);
        else socket.write(command === "DATA" ? "354 go on\r\n" : "250 fine\r\n");
      }
    });
  };
}

/** The beginning, then a little for as long as the client stays. */
function drip(socket: Socket, begin: string | Buffer, drop: string | Buffer): void {
  socket.write(begin, "latin1");
  const timer = setInterval(() => socket.write(drop), DRIP_INTERVAL_MS);
  socket.once("close", () => clearInterval(timer));
}

/** The beginning, then as much as the client takes, for as long as it stays. */
function flood(socket: Socket, begin: string | Buffer, more: string | Buffer): void {
  const piece = Buffer.from(more);
  const chunk = Buffer.concat(Array.from({ length: Math.ceil(FLOOD_CHUNK / piece.length) }, () => piece));
  const pour = () => {
    // In turns of the event loop, so that one flood does not keep the clients of this process from their timers.
    if (socket.destroyed) return;
    if (socket.write(chunk)) setImmediate(pour);
    else socket.once("drain", () => setImmediate(pour));
  };
  socket.write(begin);
  pour();
}
