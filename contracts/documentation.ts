import {
  type AnyRule,
  type ExampleOptions,
  exampleOf as exampleWith,
  patternOf,
  type SchemaOptions,
} from "moleculer-open-api";
import { NO_CONTROL_CHARACTERS, type Rule, STORABLE } from "./schema.ts";

/** Example values by field name. A value that the field's rule refuses is not used. */
const values: Readonly<Record<string, unknown>> = {
  "Idempotency-Key": "0198c0de-7f31-7a10-9d2e-0b7c5d1e2f30",
  about: "the shop's name",
  acceptance_minutes: 10,
  access_token: "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiIuLi4ifQ.c2lnbmF0dXJl",
  action: "admin.created",
  actor: "bank:0198c0de-0000-7000-8000-000000000002",
  amount_minor: 1250,
  api_url: "https://shop.example.org/waybill",
  birth_date: "1990-05-17",
  body: "A courier will collect it shortly.",
  body_hash: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
  brand: "Crema",
  city: "Berlin",
  consumer: "partners",
  country: "DE",
  currency: "EUR",
  current_password: "correct horse battery staple",
  delivery_fee_minor: 290,
  description: "Double shot, whole milk.",
  detail: "250 OK: message queued",
  device_name: "Ada's phone",
  effect: "it expires",
  email: "ada@example.com",
  error: "no answer within 10 s",
  etag: "6960204a136c1800469d85bd62bea60e",
  event: "order.ready",
  expires_in_seconds: 600,
  first_name: "Ada",
  from_minute: 480,
  ip: "192.0.2.7",
  language: "en",
  last_name: "Lovelace",
  latitude: 52.52,
  limit: 20,
  line1: "Unter den Linden 1",
  line2: "Second floor",
  longitude: 13.405,
  message_id: "msg_0198c0de00007000800000000000a1b2",
  name: "Ada Lovelace",
  new_password: "battery staple correct horse",
  next_cursor: "MDE5OGMwZGUtMDAwMC03MDAw",
  note: "Please ring twice.",
  partner_title: "Café Central",
  password: "correct horse battery staple",
  payment_id: "pay_4711",
  pending_email: "ada.new@example.com",
  phone: "+4915112345678",
  photo_id: "0198c0de-0000-7000-8000-000000000003",
  pickup_code: "7KX2MPQ4",
  pin: "4711",
  placeholder: "partner",
  postal_code: "10117",
  preparation_minutes: 15,
  problem: "title: There is no {{shop}} here; there are: partner, number, total, first_name.",
  proof_photo_id: "0198c0de-0000-7000-8000-000000000003",
  provider: "onesignal",
  providers: "onesignal",
  quantity: 2,
  ready_in_minutes: 20,
  reason: "Nobody at home.",
  refresh_token: "0198c0de-0000-7000-8000-000000000004.0.gVDq5fbALK4zGNsnOL0b7CZq",
  response_head: "204 No Content",
  secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
  service: "orders",
  stock: 40,
  subject: "0198c0de-0000-7000-8000-000000000005",
  time_zone: "Europe/Berlin",
  title: "Flat White",
  trace_id: "4bf92f3577b34da6a3ce929d0e0e4736",
  token: "0d3a5da4-6df2-4efc-8259-6b9de1b73aa8",
  tracking_token: "AaICgRsCeI2prPEJIn9NWgGiJo2fafb68uahdPosED5ueZcupyQ",
  type: "order.paid",
  until_minute: 1320,
  "webhook-id": "evt_order_paid",
  "webhook-signature": "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=",
  "webhook-timestamp": "1795343400",
  user_agent: "Mozilla/5.0 (Android 16)",
  version: 3,
};

/** Example texts for the formats in contracts. The first one that a rule accepts is used. */
const candidates = [
  "2026-11-22T10:30:00Z",
  "EUR",
  "DE",
  "en",
  "482913",
  "4711",
  "K7-042",
  "1990-05-17",
  "https://shop.example.org/waybill",
  "ada@example.com",
  "+4915112345678",
  "9f86d081884c7d659a2feaa0c55ad015",
  "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
  "orders:0198c0de-0000-7000-8000-000000000001",
  "0198c0de-0000-7000-8000-000000000001",
  "c29tZXRoaW5n",
  "ada@example.com",
  "text",
];

export const exampleOptions: ExampleOptions = { values, candidates };

/**
 * A recognizable value that the rule accepts; always the same. A text that matches no candidate is absent. A test finds
 * such texts: add a candidate.
 */
export function exampleOf(rule: Rule, name = ""): unknown {
  return exampleWith(rule, exampleOptions, name);
}

/** Options for the rules of contracts in the OpenAPI and the AsyncAPI document. */
export const schemaOptions: SchemaOptions = { strictObjects: true, pattern };

/** All control characters except the line feed. JSON cannot carry a lone surrogate, so none is listed. */
const CONTROL = "\\x00-\\x09\\x0b-\\x1f\\x7f-\\x9f";

/** The JSON Schema pattern of a text rule. A trimmed text that must not be empty must not be blank either. */
function pattern(rule: AnyRule): string | undefined {
  const { pattern, min = 0 } = rule;
  if (!(pattern instanceof RegExp) || pattern.source === STORABLE.source) return undefined;
  if (pattern.source !== NO_CONTROL_CHARACTERS.source) return patternOf(rule);
  const inside = `[^${CONTROL}\\s](?:[^${CONTROL}]*[^${CONTROL}\\s])?`;
  return `^\\s*${min > 0 ? inside : `(?:${inside})?`}\\s*$`;
}
