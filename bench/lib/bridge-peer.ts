/**
 * The node that the row of the bridge calls, with a plain grpc-js server of the same method beside it.
 * Run as a process of its own: `node bench/lib/bridge-peer.ts <own port> <port of the caller> [folder of certificates]`; prints the port of
 * the plain server when both are there.
 */
import { Server, ServerCredentials } from "@grpc/grpc-js";
import type { Context } from "moleculer";
import { benchBroker, PEER, rawEcho } from "./bridge.ts";

const [ownPort, callersPort, certificates] = process.argv.slice(2);
const broker = benchBroker(PEER, Number(ownPort), Number(callersPort), certificates);
broker.createService({
  name: "bench",
  grpc: { proto: "waybill/bench/v1/echo.proto", service: "waybill.bench.v1.Bench" },
  actions: { echo: (ctx: Context) => ctx.params },
});
await broker.start();

const plain = new Server();
plain.addService(
  { Echo: rawEcho() },
  { Echo: (call: { request: object }, done: Answer) => done(null, call.request) },
);
plain.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  console.log(port);
});

type Answer = (error: null, answer: object) => void;
