import { orderEvent, orderPosition } from "../../../contracts/orders.ts";
import { courierEvents } from "../../../contracts/streams.ts";
import { STREAM_RULES, table } from "./route.ts";

const checkout = table("Checkout");
const route = table("Orders");
const delivery = table("Delivery");

/** From the cart to the door: scenarios 3 to 9. */
export const orderRoutes = [
  checkout("GET /banks", "orders.listBanks", {
    summary: "The banks for payments",
    access: "any",
    success: 200,
  }),
  checkout("POST /orders/check", "api.check", {
    summary: "Check a cart",
    description: "Prices and stock are valid until `expires_at`. A changed cart is a new check.",
    access: ["customer"],
    success: 200,
    idempotencyKey: "never",
    problems: ["NOT_FOUND", "PARTNER_CLOSED", "PRODUCT_UNAVAILABLE"],
  }),
  checkout("POST /orders/confirm", "api.confirm", {
    summary: "Confirm a check",
    description:
      "The answer has the address of the checkout. A check becomes one order, also if it is confirmed several times.",
    access: ["customer"],
    success: 201,
    location: "/orders/{order_id}",
    idempotencyKey: "required",
    problems: [
      "NOT_FOUND",
      "CHECK_EXPIRED",
      "CHECK_USED",
      "QUOTE_CHANGED",
      "PARTNER_CLOSED",
      "PRODUCT_UNAVAILABLE",
      "BANK_INACTIVE",
      "BANK_UNAVAILABLE",
    ],
  }),
  route("GET /orders", "orders.list", {
    summary: "My orders",
    description:
      "A customer's own, a partner's, a deliverer's, or all for operators; the one confirmed last comes first. All filters can be combined. `q` is the number of an order, or beginnings of words of the customer's name and phone number; it is for operators and staff of a partner.",
    access: "any",
    success: 200,
    problems: ["FORBIDDEN", "TOO_MANY_MATCHES"],
    without: ["userId"],
  }),
  route("GET /orders.csv", "api.ordersCsv", {
    summary: "Export orders as CSV",
    description: [
      "The rows of `GET /orders` with the same filters: all for operators, the partner's own for its staff. `from` and `to`",
      "are required and at most 92 days apart. A text that a spreadsheet would take for a formula begins with an",
      "apostrophe. A connection that breaks means that rows are missing. A user has one export at a time.",
    ].join("\n"),
    access: ["finance", "admin", "partner"],
    success: 200,
    content: "csv",
    problems: ["TOO_MANY_MATCHES"],
  }),
  route("GET /orders/{order_id}", "orders.get", { summary: "One order", access: "any", success: 200 }),
  route("PATCH /orders/{order_id}", "orders.update", {
    summary: "Change the address or the note",
    description: "As long as the order is pending.",
    access: ["customer"],
    success: 200,
    problems: ["ILLEGAL_TRANSITION", "ORDER_CHANGED"],
  }),
  route("GET /orders/{order_id}/history", "orders.history", {
    summary: "The history of the order",
    access: "any",
    success: 200,
  }),
  route("GET /orders/{order_id}/events", "api.orderEvents", {
    summary: "Follow the order",
    description: [
      "Server-sent events: `order` whenever the order moves (its history's entry, with the order's version as the",
      "event's id) and `position` whenever its deliverer reports one. `Last-Event-ID` resumes after that version.",
      "The stream ends with the access token; connect again with a fresh one.",
    ].join("\n"),
    access: "any",
    success: 200,
    content: "events",
    events: { order: orderEvent, position: orderPosition },
  }),
  route("POST /orders/{order_id}/cancel", "orders.cancel", {
    summary: "Cancel the order",
    description:
      "The table in the documentation of states shows for each state which roles may cancel, and the refund.",
    access: ["customer", "partner", "admin"],
    success: 200,
    problems: ["ILLEGAL_TRANSITION", "ORDER_NOT_CANCELLABLE", "ORDER_CHANGED"],
  }),
  route("POST /orders/{order_id}/accept", "orders.accept", {
    summary: "Accept the order by hand",
    description: [
      "For a partner without a system of its own, and beside one: the same transition as by the signed callback `order.accepted`.",
      "A repeat has no effect. `ready_in_minutes` or `ready_at` is the time when the order will be ready; the default is the",
      "partner's usual preparation time.",
    ].join("\n"),
    access: ["admin", "partner"],
    success: 200,
    example: { ready_in_minutes: 20, ready_at: undefined },
    problems: ["ILLEGAL_TRANSITION", "ORDER_CHANGED"],
  }),
  route("POST /orders/{order_id}/delay", "orders.delay", {
    summary: "Promise another time by hand",
    description:
      "With `ready_in_minutes` or `ready_at`. An order that is not accepted yet is accepted with it.",
    access: ["admin", "partner"],
    success: 200,
    example: { ready_in_minutes: 30, ready_at: undefined, reason: "The oven is full." },
    problems: ["ILLEGAL_TRANSITION", "ORDER_CHANGED"],
  }),
  route("POST /orders/{order_id}/ready", "orders.makeReady", {
    summary: "Report the order ready by hand",
    description:
      "Deliverers see it in the pool from then on. It accepts the order too, if that was not done.",
    access: ["admin", "partner"],
    success: 200,
    problems: ["ILLEGAL_TRANSITION", "ORDER_CHANGED"],
  }),
  route("POST /orders/{order_id}/reject", "orders.reject", {
    summary: "Reject the order by hand",
    description: [
      "The order is refunded, and the customer gets the reason and `text`. `out_of_stock` names products of the order:",
      "their stock becomes 0, also if their pieces were not counted. If an order with such products has been cancelled",
      "in another way meanwhile, the request is refused: set their stock by `PUT …/availability/{product_id}`.",
    ].join("\n"),
    access: ["admin", "partner"],
    success: 200,
    example: { reason: "out_of_stock", text: "The last one was sold a moment ago.", out_of_stock: undefined },
    problems: ["ILLEGAL_TRANSITION", "ORDER_CHANGED"],
  }),
  delivery("GET /deliveries/available", "orders.available", {
    summary: "Orders that wait for a deliverer",
    description:
      "The nearest to the partner first: from the given position, else from the position of the caller's duty. Without both, the longest waiting first.",
    access: ["deliverer"],
    success: 200,
  }),
  delivery("GET /deliveries/events", "api.courierEvents", {
    summary: "Follow the pool, my offers and my orders",
    description: [
      "Server-sent events, each with the present place of one order: `appeared` in the pool, `offered` to me, `mine` with",
      "each of its moves, or `vanished`. Show the newest event of an order only. `distance_meters` is left out.",
      STREAM_RULES,
    ].join("\n"),
    access: ["deliverer"],
    success: 200,
    content: "events",
    events: courierEvents,
  }),
  delivery("GET /deliveries/duty", "orders.duty", {
    summary: "My duty",
    access: ["deliverer"],
    success: 200,
  }),
  delivery("PUT /deliveries/duty", "orders.setDuty", {
    summary: "Begin or end my duty",
    description: [
      "`on_duty` begins the duty; a repeat changes the vehicle and the position. The position is kept only during the duty:",
      "it is deleted when the duty ends. A duty without a position or another sign for hours ends by itself.",
    ].join("\n"),
    access: ["deliverer"],
    success: 200,
  }),
  delivery("POST /deliveries/position", "orders.reportPosition", {
    summary: "Report where I am, on duty",
    description:
      "For the pool and for all orders that I deliver. A report that is older than the newest one changes nothing.",
    access: ["deliverer"],
    success: 204,
    body: { json: "position" },
    idempotencyKey: "never",
    problems: ["OFF_DUTY"],
  }),
  delivery("GET /deliveries/offers", "orders.offers", {
    summary: "The order that is offered to me",
    description: [
      "With the setting `offer` of the platform or the partner a ready order is offered to one courier on duty after the other, 30 seconds each,",
      "before it is in the pool. `POST /orders/{order_id}/assign` accepts the offer.",
    ].join("\n"),
    access: ["deliverer"],
    success: 200,
  }),
  delivery("POST /orders/{order_id}/decline", "orders.decline", {
    summary: "Decline an order that is offered to me",
    description: "The order is offered to the next courier.",
    access: ["deliverer"],
    success: 204,
    problems: ["ORDER_CHANGED"],
  }),
  delivery("POST /orders/{order_id}/assign", "orders.assign", {
    summary: "Assign the order to myself",
    description: "Of any number of simultaneous requests exactly one succeeds.",
    access: ["deliverer"],
    success: 200,
    problems: [
      "ALREADY_ASSIGNED",
      "OFFERED_TO_ANOTHER",
      "COURIER_FULL",
      "HANDOVER_LOCKED",
      "ILLEGAL_TRANSITION",
      "ORDER_CHANGED",
    ],
  }),
  delivery("POST /orders/{order_id}/pickup", "orders.pickUp", {
    summary: "Confirm the pickup at the partner",
    description: [
      "`code` is the number of the order, as `K7-042`, or the pickup code that the partner shows as text or as a code to",
      "scan (`pickup_code` of the order). The state stays `delivering`; the order gets `picked_up_at`.",
    ].join("\n"),
    access: ["deliverer"],
    success: 200,
    example: { code: "K7-042" },
    problems: ["WRONG_PICKUP_CODE", "ILLEGAL_TRANSITION", "ORDER_CHANGED"],
  }),
  delivery("POST /orders/{order_id}/release", "orders.release", {
    summary: "Release the order into the pool",
    access: ["deliverer"],
    success: 200,
    problems: ["ILLEGAL_TRANSITION", "ORDER_CHANGED"],
  }),
  delivery("POST /orders/{order_id}/location", "orders.reportLocation", {
    summary: "Report where I am",
    description:
      "`at` is the time of the position. A report that is older than the newest one changes nothing.",
    access: ["deliverer"],
    success: 204,
    body: { json: "position" },
    idempotencyKey: "never",
    problems: ["ILLEGAL_TRANSITION"],
  }),
  delivery("PUT /orders/{order_id}/proof", "media.putProof", {
    summary: "Upload the photo of the handover",
    description:
      "The bytes of a JPEG, PNG or WebP image (no HEIC or AVIF); `photo_id` goes with the delivery. A later photo replaces the former one.",
    access: ["deliverer"],
    success: 200,
    body: { image: "base64" },
    problems: ["IMAGE_INVALID", "IMAGE_TOO_LARGE", "ILLEGAL_TRANSITION"],
  }),
  delivery("GET /orders/{order_id}/proof", "media.getProof", {
    summary: "The photo of the handover",
    access: "any",
    success: 200,
    content: "image",
  }),
  delivery("POST /orders/{order_id}/deliver", "orders.deliver", {
    summary: "Hand the order over",
    description: "With the PIN of the customer; five wrong ones lock the handover until an operator acts.",
    access: ["deliverer"],
    success: 200,
    problems: ["WRONG_PIN", "PROOF_REQUIRED", "HANDOVER_LOCKED", "ILLEGAL_TRANSITION", "ORDER_CHANGED"],
  }),
  delivery("POST /orders/{order_id}/fail", "orders.fail", {
    summary: "Report that the order cannot be delivered",
    access: ["deliverer"],
    success: 200,
    problems: ["ILLEGAL_TRANSITION", "ORDER_CHANGED"],
  }),
  delivery("GET /track/{token}", "orders.track", {
    summary: "Follow a delivery by its public link",
    access: "public",
    success: 200,
  }),
];
