import { table } from "./route.ts";

const route = table("Notifications");

/** Settings of OneSignal. Other providers need keys, and an example must not look like a real key. */
const settings = [
  {
    provider: "onesignal",
    values: { appId: "0198c0de-0000-7000-8000-000000000006", apiKey: "os_v2_app_0d3a5da46df24efc" },
  },
];

const text = {
  title: "Thank you, {{first_name}}",
  body: "{{total}} for your order arrived, and {{partner}} has been told.",
};

/** Devices, preferences, agents and templates: scenario 7. */
export const notificationRoutes = [
  route("GET /me/devices", "notifications.devices", {
    summary: "My devices for notifications",
    access: "any",
    success: 200,
  }),
  route("POST /me/devices", "notifications.addDevice", {
    summary: "Add the push token of a device",
    description:
      "`provider` is the provider of the token. A device can have one of each: with `device_id` it becomes a further token of an existing device, and a push that one provider refuses goes to the next.",
    access: "any",
    success: 201,
    problems: ["NOT_FOUND"],
  }),
  route("DELETE /me/devices/{device_id}", "notifications.removeDevice", {
    summary: "Remove a device",
    access: "any",
    success: 204,
  }),
  route("GET /me/notification-preferences", "notifications.preferences", {
    summary: "My channels for notifications, and my quiet hours",
    access: "any",
    success: 200,
  }),
  route("PUT /me/notification-preferences", "notifications.setPreferences", {
    summary: "Set my channels for notifications, and my quiet hours",
    description:
      "Notifications that can wait are deferred to the end of the quiet hours; codes, and a courier on the way, are sent at once.",
    access: "any",
    success: 200,
    example: { quiet_hours: { from_minute: 1320, until_minute: 420, time_zone: "Europe/Berlin" } },
  }),
  route("GET /me/notifications", "notifications.list", {
    summary: "My notifications, with every attempt",
    access: "any",
    success: 200,
  }),
  route("GET /agents", "notifications.agents", {
    summary: "The senders of notifications",
    access: ["admin"],
    success: 200,
  }),
  route("POST /agents", "notifications.createAgent", {
    summary: "Add a sender of notifications",
    description:
      "`providers` are tried in their order. Their settings are sealed and never shown again: `onesignal` takes `appId` and `apiKey`; `fcm` takes `serviceAccount`, the JSON key file as text, or of its fields `projectId`, `clientEmail` and `privateKey`; `apns` takes `teamId`, `keyId`, `privateKey` (the text of the .p8 file) and `topic` (the app's bundle id); `webpush` takes `publicKey` and `privateKey` (a VAPID pair in base64url) and `subject` (`mailto:` and an address of yours).",
    access: ["admin"],
    success: 201,
    example: { settings },
  }),
  route("PATCH /agents/{agent_id}", "notifications.updateAgent", {
    summary: "Change a sender of notifications",
    access: ["admin"],
    success: 200,
    example: { settings },
  }),
  route("GET /templates", "notifications.templates", {
    summary: "The texts of notifications",
    description: "Built-in texts and overrides, each with a preview and with the placeholders of its event.",
    access: ["admin"],
    success: 200,
  }),
  route("POST /templates", "notifications.createTemplate", {
    summary: "Add an override of a text",
    description:
      "Instead of a built-in text, or in another language. While it is not `enabled`, it is a draft with a preview.",
    access: ["admin"],
    success: 201,
    problems: ["TEMPLATE_EXISTS"],
    example: text,
  }),
  route("PATCH /templates/{template_id}", "notifications.updateTemplate", {
    summary: "Change or disable an override of a text",
    access: ["admin"],
    success: 200,
    example: text,
  }),
];
