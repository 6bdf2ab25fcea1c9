import { Client, credentials } from "@grpc/grpc-js";
import { CLIENT_OPTIONS, LINK_AGE_MS } from "./channel-options.ts";
import { type Ask, type Link, type LinkOptions, openLink } from "./link-client.ts";

/** The links to other nodes: one for each, to the address that it announced last, opened by the first call. */
export interface Links {
  /** @returns the answer's bytes @throws Refusal */
  call(nodeID: string, address: string, ask: Ask): Promise<Buffer>;
  /** The node has gone; should it come back, then maybe at another address. */
  forget(nodeID: string): void;
  close(): void;
}

interface Peer {
  address: string;
  client: Client;
  link: Link;
  openedMs: number;
}

/** @param ageMs after which a link is replaced by a new one */
export function openLinks(options: LinkOptions, ageMs = LINK_AGE_MS): Links {
  const peers = new Map<string, Peer>();

  function linkTo(nodeID: string, address: string): Link {
    const known = peers.get(nodeID);
    if (known && known.address !== address) forget(nodeID);
    const peer = peers.get(nodeID) ?? connected(nodeID, address);
    if (peer.link.isOpen() && performance.now() - peer.openedMs < ageMs) return peer.link;
    peer.link.retire();
    peer.link = openLink(peer.client, options);
    peer.openedMs = performance.now();
    return peer.link;
  }

  function connected(nodeID: string, address: string): Peer {
    const client = new Client(address, credentials.createInsecure(), CLIENT_OPTIONS);
    const peer = { address, client, link: openLink(client, options), openedMs: performance.now() };
    peers.set(nodeID, peer);
    return peer;
  }

  function forget(nodeID: string): void {
    const peer = peers.get(nodeID);
    peers.delete(nodeID);
    // What is under way may be answered still: the connection ends with the link.
    peer?.link.retire();
    peer?.client.close();
  }

  return {
    call: (nodeID, address, ask) => linkTo(nodeID, address).call(ask),
    forget,
    close() {
      for (const { link, client } of peers.values()) {
        link.cut();
        client.close();
      }
      peers.clear();
    },
  };
}
