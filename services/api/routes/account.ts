import { table } from "./route.ts";

const route = table("Account");

/** Sign-up, sessions, profile, avatar: scenario 1. */
export const accountRoutes = [
  route("POST /users", "identity.register", {
    summary: "Register",
    description:
      "Always as a customer. A code is sent to the e-mail address; the user can sign in after it was entered.",
    access: "public",
    success: 201,
    idempotencyKey: "never",
    limit: "sign-in",
    problems: ["EMAIL_TAKEN", "PASSWORD_TOO_COMMON"],
  }),
  route("POST /users/confirm", "identity.confirm", {
    summary: "Confirm the e-mail address by the code",
    description:
      "The code belongs to one registration. With `password`, it is valid only for the registration with this password: send it if the app still has it.",
    access: "public",
    success: 204,
    idempotencyKey: "never",
    limit: "sign-in",
    problems: ["CODE_INVALID"],
  }),
  route("POST /users/confirm/resend", "identity.resendCode", {
    summary: "Send the code again",
    description: "The answer is the same for an unknown address.",
    access: "public",
    success: 204,
    idempotencyKey: "never",
    limit: "sign-in",
  }),
  route("POST /sessions", "identity.signIn", {
    summary: "Sign in",
    access: "public",
    success: 201,
    without: ["userAgent"],
    idempotencyKey: "never",
    limit: "sign-in",
    problems: ["INVALID_CREDENTIALS", "EMAIL_NOT_CONFIRMED", "ACCOUNT_SUSPENDED"],
  }),
  route("POST /sessions/refresh", "identity.refresh", {
    summary: "Exchange the refresh token for new tokens",
    description: "Each refresh token is valid once; a second use ends the session.",
    access: "public",
    success: 200,
    idempotencyKey: "never",
    limit: "sign-in",
    problems: ["UNAUTHENTICATED", "SESSION_REVOKED"],
  }),
  route("GET /sessions", "identity.sessions", { summary: "My sessions", access: "any", success: 200 }),
  route("DELETE /sessions/current", "identity.signOut", {
    summary: "Sign out",
    access: "any",
    success: 204,
    without: ["sessionId"],
  }),
  route("DELETE /sessions/{session_id}", "identity.signOut", {
    summary: "End one of my sessions",
    access: "any",
    success: 204,
  }),
  route("DELETE /sessions", "identity.signOutEverywhere", {
    summary: "End all my sessions",
    access: "any",
    success: 204,
  }),
  route("POST /password/forgot", "identity.forgotPassword", {
    summary: "Request a code for a new password",
    description: "The answer is the same for an unknown address.",
    access: "public",
    success: 204,
    idempotencyKey: "never",
    limit: "sign-in",
  }),
  route("POST /password/reset", "identity.resetPassword", {
    summary: "Set a new password by the code",
    access: "public",
    success: 204,
    idempotencyKey: "never",
    limit: "sign-in",
    problems: ["CODE_INVALID", "PASSWORD_TOO_COMMON"],
  }),
  route("GET /me", "identity.profile", { summary: "My profile", access: "any", success: 200 }),
  route("PATCH /me", "identity.updateProfile", {
    summary: "Change my profile",
    description:
      "A new `email` needs the `current_password` and takes effect when the code that is sent there is entered. For seven days the former address can undo it.",
    access: "any",
    success: 200,
    problems: ["EMAIL_TAKEN", "INVALID_CREDENTIALS"],
  }),
  route("DELETE /me", "identity.deleteAccount", {
    summary: "Delete my account",
    description:
      "While you have open orders it is refused with their ids; with `confirm` the orders continue, and are erased when they end.",
    access: "any",
    success: 204,
    fields: "body",
    problems: ["INVALID_CREDENTIALS", "OPEN_ORDERS"],
  }),
  route("PUT /me/password", "identity.changePassword", {
    summary: "Change my password",
    access: "any",
    success: 204,
    limit: "sign-in",
    problems: ["INVALID_CREDENTIALS", "PASSWORD_TOO_COMMON"],
  }),
  route("POST /me/email/confirm", "identity.confirmEmail", {
    summary: "Confirm my new e-mail address by the code",
    access: "any",
    success: 200,
    problems: ["CODE_INVALID", "EMAIL_TAKEN"],
  }),
  route("POST /email/undo", "identity.undoEmailChange", {
    summary: "Undo a change of my e-mail address",
    description:
      "By the token of the link that the former address got, for seven days. The account gets that address back, all its sessions end, and `new_password`, where it is given, becomes its password.",
    access: "public",
    success: 204,
    idempotencyKey: "never",
    limit: "sign-in",
    problems: ["CODE_INVALID", "EMAIL_TAKEN", "PASSWORD_TOO_COMMON"],
  }),
  route("GET /me/export", "identity.exportData", {
    summary: "Everything that is stored about me",
    description: [
      "Profile, sessions, acts in the audit log, orders with payments and refunds, addresses, devices, preferences and",
      "notifications; for couriers also duty, deliveries and positions. Pictures are links. For a user with much data the",
      "lists hold their beginnings, and the whole becomes a file in the background: `file` has its state.",
    ].join("\n"),
    access: "any",
    success: 200,
  }),
  route("POST /me/export", "identity.beginExport", {
    summary: "Begin a file with everything that is stored about me",
    description:
      "It is made in the background. While there is a file, or one is made, a repeat begins no other one.",
    access: "any",
    success: 202,
    location: "/me/export/status",
  }),
  route("GET /me/export/status", "identity.exportStatus", {
    summary: "The state of my export",
    description: "Of the file that is made or has been made. `url` is where it is, when it is `ready`.",
    access: "any",
    success: 200,
    problems: ["NOT_FOUND"],
  }),
  route("GET /me/export/file", "api.exportFile", {
    summary: "The file of my export",
    description:
      "JSON with the fields of `GET /me/export`. It is deleted a day after the export was requested. A connection that breaks means that the file is incomplete.",
    access: "any",
    success: 200,
    content: "file",
    problems: ["NOT_FOUND"],
  }),
  route("PUT /me/avatar", "media.putAvatar", {
    summary: "Upload my avatar",
    description:
      "The bytes of a JPEG, PNG or WebP image (no HEIC or AVIF). It is encoded again without its metadata.",
    access: "any",
    success: 200,
    body: { image: "base64" },
    problems: ["IMAGE_INVALID", "IMAGE_TOO_LARGE"],
  }),
  route("GET /me/avatar", "media.getAvatar", {
    summary: "My avatar",
    access: "any",
    success: 200,
    content: "image",
    problems: ["NOT_FOUND"],
  }),
  route("DELETE /me/avatar", "media.deleteAvatar", {
    summary: "Delete my avatar",
    access: "any",
    success: 204,
  }),
  route("POST /invitations", "identity.invite", {
    summary: "Invite a deliverer, a partner's staff or an operator",
    description:
      "An admin invites anyone; a partner's admin invites staff of that partner. With `partner_admin` the staff have the rights of the partner's admins: change its name, fees and contact, its system's URL and secret, and invite staff. Only an operator gives this right.",
    access: ["admin", "partner_admin"],
    success: 201,
    example: { role: "partner" },
  }),
  route("POST /invitations/accept", "identity.acceptInvitation", {
    summary: "Accept an invitation",
    access: "public",
    success: 201,
    idempotencyKey: "never",
    limit: "sign-in",
    problems: [
      "INVITATION_INVALID",
      "INVALID_CREDENTIALS",
      "ACCOUNT_SUSPENDED",
      "EMAIL_TAKEN",
      "PASSWORD_TOO_COMMON",
    ],
  }),
  route("GET /invitations", "identity.invitations", {
    summary: "Invitations",
    description: "The newest first: all for an admin, those of the own partner for its admins.",
    access: ["admin", "partner_admin"],
    success: 200,
  }),
  route("DELETE /invitations/{invitation_id}", "identity.withdrawInvitation", {
    summary: "Withdraw an invitation",
    description: "Its link no longer works. A repeat changes nothing.",
    access: ["admin", "partner_admin"],
    success: 204,
    problems: ["INVITATION_ENDED"],
  }),
  route("POST /invitations/{invitation_id}/resend", "identity.resendInvitation", {
    summary: "Send an invitation again",
    description: "With a new link, for seven days from now; the former link no longer works.",
    access: ["admin", "partner_admin"],
    success: 200,
    problems: ["INVITATION_ENDED"],
  }),
];
