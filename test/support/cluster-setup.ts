import globalSetup from "./global-setup.ts";

/** The same files of tests meet the cluster where `npm test` gives them one process. */
export default async function clusterSetup(): Promise<void> {
  await globalSetup();
  process.env.TEST_TOPOLOGY = "cluster";
}
