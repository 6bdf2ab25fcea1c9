import { BenchDatabase } from "./database.ts";
import { type Peers, startPeers } from "./peers.ts";
import { newDataDir, type RunningPlatform, removeDataDir, startPlatform } from "./platform.ts";
import { makeWorld, type Sizes, type World } from "./world.ts";

/** A fresh platform with its database, the programs around it, and partners, products and customers: one row measures it. */
export interface Stage {
  platform: RunningPlatform;
  database: BenchDatabase;
  peers: Peers;
  world: World;
}

/** Makes a stage for one row and takes it away afterwards. */
export async function onStage<T>(sizes: Sizes, work: (stage: Stage) => Promise<T>): Promise<T> {
  const dataDir = newDataDir();
  const peers = await startPeers();
  const database = new BenchDatabase(dataDir);
  try {
    const platform = await startPlatform(dataDir, { SMTP_URL: peers.smtpUrl });
    try {
      const world = await makeWorld(platform, peers, sizes);
      return await work({ platform, database, peers, world });
    } finally {
      await database.close();
      await platform.stop();
    }
  } finally {
    peers.stop();
    removeDataDir(dataDir);
  }
}
