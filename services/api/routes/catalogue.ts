import { partnerEvents } from "../../../contracts/streams.ts";
import { STREAM_RULES, table } from "./route.ts";

const route = table("Catalogue");
const manage = table("Partner administration");

/** The first page of the list, which most clients open. Staff get another answer: they also see inactive offers. */
const frontPage = {
  roles: ["customer", "deliverer"],
  fields: ["partnerId"],
  cachedAs: "partners.frontPage",
} as const;
const staff = ["admin", "partner"] as const;
/** Admins of the partner, without its other staff. */
const partnerAdmins = ["admin", "partner_admin"] as const;

/** Partners, their products, and the endpoint of their system: scenarios 2 and 5. */
export const catalogueRoutes = [
  route("GET /products", "partners.listOffers", {
    summary: "Products that can be ordered",
    description: "Active offers of enabled, verified partners, by partner and by text.",
    access: "any",
    success: 200,
    sameFor: frontPage,
    problems: ["NOT_FOUND"],
  }),
  route("GET /partners", "partners.list", { summary: "Partners", access: "any", success: 200 }),
  route("GET /partners/{partner_id}", "partners.get", {
    summary: "One partner",
    access: "any",
    success: 200,
  }),
  route("GET /partners/{partner_id}/products", "partners.listOffers", {
    summary: "Products that can be ordered from this partner",
    access: "any",
    success: 200,
    sameFor: frontPage,
  }),
  manage("POST /partners", "partners.create", {
    summary: "Add a partner",
    access: ["admin"],
    success: 201,
    location: "/partners/{id}",
    problems: ["PARTNER_EXISTS"],
  }),
  manage("PATCH /partners/{partner_id}", "partners.update", {
    summary: "Change a partner",
    description:
      "Only an admin of the platform sets `enabled` and `verified`. Staff of the partner may change `preparation_minutes`; the other fields are for its admin (`partner_admin`). `acceptance_minutes` is the time to accept an order: afterwards it is cancelled and refunded.",
    access: staff,
    success: 200,
    problems: ["PARTNER_EXISTS"],
  }),
  manage("POST /partners/{partner_id}/products", "partners.createProduct", {
    summary: "Add a product and offer it",
    access: staff,
    success: 201,
  }),
  manage("PATCH /partners/{partner_id}/products/{product_id}", "partners.updateProduct", {
    summary: "Change a product",
    access: staff,
    success: 200,
  }),
  manage("DELETE /partners/{partner_id}/products/{product_id}", "partners.deleteProduct", {
    summary: "Stop offering a product",
    access: staff,
    success: 204,
  }),
  manage("GET /partners/{partner_id}/availability/{product_id}", "partners.getAvailability", {
    summary: "The price and stock of a product",
    access: staff,
    success: 200,
  }),
  manage("PUT /partners/{partner_id}/availability/{product_id}", "partners.setAvailability", {
    summary: "Set the price of a product, and whether it is active",
    description: [
      "The first time, the partner begins to offer the product; of another partner's product it gets a copy, whose id",
      "is in the answer. `stock` that is left out stays as it is, and `null` ends the counting of pieces. Orders change",
      "the stock: send with another number the ETag of the offer that it was made from, as If-Match. Without it the",
      "number is refused once an order has taken or given back pieces. To add pieces, or take some away, use",
      "`POST …/stock`.",
    ].join("\n"),
    access: staff,
    success: 200,
    // Without a key, a repeat after a lost answer would overwrite later changes of others, or fail with a stale version.
    idempotencyKey: "accepted",
    problems: ["PRECONDITION_REQUIRED"],
  }),
  manage("POST /partners/{partner_id}/availability/{product_id}/stock", "partners.changeStock", {
    summary: "Add pieces to the stock of a product, or remove them",
    description:
      "By `change`, which is negative to remove pieces. It is correct together with concurrent orders.",
    access: staff,
    success: 200,
    problems: ["PRODUCT_UNAVAILABLE"],
  }),
  manage("PUT /partners/{partner_id}/hours", "partners.setHours", {
    summary: "Set the opening hours",
    description: [
      "Weekday 0 is Sunday, 6 is Saturday. Minutes are after midnight by the clock of `time_zone`; an `until_minute` above",
      "1440 lies in the next day.",
    ].join("\n"),
    access: staff,
    success: 200,
    body: { json: "hours" },
  }),
  manage("PUT /partners/{partner_id}/busy", "partners.setBusy", {
    summary: "Take no orders until a time",
    description: "Without a time the pause ends.",
    access: staff,
    success: 200,
  }),
  manage("GET /partners/{partner_id}/events", "api.partnerEvents", {
    summary: "Follow the orders of the partner",
    description: ["Server-sent events: `order` whenever an order moves.", STREAM_RULES].join("\n"),
    access: staff,
    success: 200,
    content: "events",
    events: partnerEvents,
  }),
  manage("GET /partners/{partner_id}/assignment", "orders.assignment", {
    summary: "How the ready orders of the partner find a courier",
    access: staff,
    success: 200,
  }),
  manage("PUT /partners/{partner_id}/assignment", "orders.setAssignment", {
    summary: "Set how the ready orders of the partner find a courier",
    description:
      "`pool`: couriers choose; `offer`: an order is offered to one courier after the other before it is in the pool. Without `assignment` the setting of the platform applies again.",
    access: ["admin"],
    success: 200,
    example: { assignment: "offer" },
  }),
  manage("GET /partners/{partner_id}/webhook", "partners.getWebhook", {
    summary: "The webhook of the partner's system",
    access: staff,
    success: 200,
  }),
  manage("PUT /partners/{partner_id}/webhook", "partners.setWebhook", {
    summary: "Set the webhook of the partner's system",
    description:
      "The secret is shown only when it is created. Only an admin of the partner may do this, not its other staff.",
    access: partnerAdmins,
    success: 200,
  }),
  manage("POST /partners/{partner_id}/webhook/rotate-secret", "partners.rotateWebhookSecret", {
    summary: "Create a new secret",
    description:
      "For a day after its replacement each secret still signs requests and is accepted. A repeat with the same Idempotency-Key answers with the same secret. Only an admin of the partner may do this, not its other staff.",
    access: partnerAdmins,
    success: 200,
  }),
  manage("POST /partners/{partner_id}/webhook/test", "partners.testWebhook", {
    summary: "Send a test to the partner's system",
    access: partnerAdmins,
    success: 200,
  }),
  manage("GET /partners/{partner_id}/webhook/deliveries", "partners.listWebhookDeliveries", {
    summary: "Webhooks to the partner's system, with every attempt",
    access: staff,
    success: 200,
  }),
  manage(
    "POST /partners/{partner_id}/webhook/deliveries/{delivery_id}/replay",
    "partners.replayWebhookDelivery",
    {
      summary: "Send it to the partner's system again",
      access: staff,
      success: 200,
      problems: ["ILLEGAL_TRANSITION"],
    },
  ),
];
