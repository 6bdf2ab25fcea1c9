import { apns } from "./apns.ts";
import { fcm } from "./fcm.ts";
import { oneSignal } from "./onesignal.ts";
import type { PushProvider } from "./port.ts";
import { sandboxPush } from "./sandbox.ts";
import { webPush } from "./webpush.ts";

export type { Push, PushProvider, PushResult } from "./port.ts";

/** The push providers of this installation, by name. The sandbox's provider exists only where SANDBOX is on. */
export function pushProviders(config: {
  ONESIGNAL_API_URL: string;
  FCM_API_URL: string;
  FCM_TOKEN_URL: string;
  APNS_API_URL: string;
  SANDBOX: boolean;
}): ReadonlyMap<string, PushProvider> {
  const providers = [
    oneSignal({ apiUrl: config.ONESIGNAL_API_URL }),
    fcm({ apiUrl: config.FCM_API_URL, tokenUrl: config.FCM_TOKEN_URL }),
    apns({ apiUrl: config.APNS_API_URL }),
    webPush({ guard: { allowLoopback: config.SANDBOX } }),
    ...(config.SANDBOX ? [sandboxPush()] : []),
  ];
  return new Map(providers.map((provider) => [provider.name, provider]));
}
