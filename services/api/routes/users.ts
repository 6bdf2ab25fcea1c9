import { table } from "./route.ts";

const route = table("Users");

const admin = { access: ["admin"], success: 200 } as const;

/** Operators find users, suspend and restore them, change their roles and end their sessions. */
export const userRoutes = [
  route("GET /users", "identity.users", {
    ...admin,
    summary: "Find users",
    description:
      "The newest account first. `q` finds users by words that begin words of the name, the e-mail address or the phone number.",
    problems: ["TOO_MANY_MATCHES"],
  }),
  route("GET /users/{user_id}", "api.user", {
    ...admin,
    summary: "One user with sessions, devices, latest orders and audit entries",
    description: "`unreachable` names parts that could not be read now; their lists are empty.",
  }),
  route("POST /users/{user_id}/suspend", "identity.suspendUser", {
    ...admin,
    summary: "Suspend a user",
    description: [
      "All sessions end at once, and sign-in is refused until the account is restored. Orders that a deliverer carries",
      "are released into the pool; other staff of the user's partner are not affected. A repeat changes nothing.",
      "An operator cannot suspend the own account.",
    ].join("\n"),
  }),
  route("POST /users/{user_id}/restore", "identity.restoreUser", {
    ...admin,
    summary: "Restore a suspended user",
    description: "The user can sign in again, with the same role.",
  }),
  route("PUT /users/{user_id}/role", "identity.setRole", {
    ...admin,
    summary: "Give a user another role",
    description:
      "All sessions end, because their tokens hold the former role. An operator cannot change the own role. Only staff have a `partner_id`.",
    example: { role: "deliverer", partner_id: undefined, partner_admin: undefined },
    problems: ["EMAIL_NOT_CONFIRMED"],
  }),
  route("DELETE /users/{user_id}/role", "identity.removeRole", {
    ...admin,
    summary: "Make a user a customer",
    description: "Removes the user's role, as a courier who leaves. All sessions end.",
    problems: ["EMAIL_NOT_CONFIRMED"],
  }),
  route("DELETE /users/{user_id}/sessions", "identity.endUserSessions", {
    ...admin,
    summary: "End all sessions of a user",
    success: 204,
  }),
  route("DELETE /users/{user_id}/sessions/{session_id}", "identity.endUserSession", {
    ...admin,
    summary: "End one session of a user",
    success: 204,
  }),
];
