import { Client, credentials, type Metadata, type ServiceError } from "@grpc/grpc-js";
import { CLIENT_OPTIONS } from "./channel-options.ts";

export interface RawCall {
  path: string;
  bytes: Buffer;
  metadata: Metadata;
  /** In milliseconds of Unix time. */
  deadline: number;
}

/** The channels to other nodes: one for each, to the address that it announced last. */
export interface Peers {
  /** @returns the answer's bytes @throws ServiceError of grpc-js */
  call(nodeID: string, address: string, call: RawCall): Promise<Buffer>;
  /** The node has gone; should it come back, then maybe at another address. */
  forget(nodeID: string): void;
  close(): void;
}

export function openPeers(): Peers {
  const clients = new Map<string, { address: string; client: Client }>();

  function clientOf(nodeID: string, address: string): Client {
    const known = clients.get(nodeID);
    if (known?.address === address) return known.client;
    forget(nodeID);
    const client = new Client(address, credentials.createInsecure(), CLIENT_OPTIONS);
    clients.set(nodeID, { address, client });
    return client;
  }

  function forget(nodeID: string): void {
    clients.get(nodeID)?.client.close();
    clients.delete(nodeID);
  }

  return {
    call: (nodeID, address, { path, bytes, metadata, deadline }) =>
      new Promise((resolve, reject) => {
        const answered = (error: ServiceError | null, answer?: Buffer) =>
          error ? reject(error) : resolve(answer as Buffer);
        const client = clientOf(nodeID, address);
        client.makeUnaryRequest(path, asIs, asIs, bytes, metadata, { deadline }, answered);
      }),
    forget,
    close() {
      for (const nodeID of [...clients.keys()]) forget(nodeID);
    },
  };
}

function asIs(bytes: Buffer): Buffer {
  return bytes;
}
