export interface Device {
  id: string;
  tokens: readonly { provider: string; token: string }[];
}

/** The agent that sends: its providers in order, each with its decrypted settings. */
export interface Sender {
  name: string;
  providers: readonly { name: string; settings: Readonly<Record<string, string>> }[];
}
