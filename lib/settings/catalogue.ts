import {
  choice,
  flag,
  host,
  integer,
  list,
  networks,
  password,
  port,
  type Setting,
  secret,
  shaped,
  text,
  url,
} from "./setting.ts";

export const serviceNames = ["api", "identity", "media", "orders", "partners", "notifications"] as const;
export type ServiceName = (typeof serviceNames)[number];

/** It leaves a client its answer within two seconds. Below it a lock could time out before a deadlock is found. */
const DEFAULT_REQUEST_TIMEOUT_MS = 1_800;

const postgresUrl = (service: ServiceName) =>
  url(`PostgreSQL database of ${service}; unset: the embedded server`, ["postgres", "postgresql"], {
    neededBy: [service],
  });

const perMinute = (which: string, fallback: number) =>
  integer(`Limit of requests per minute ${which}; 0: no limit`, 0, 10_000_000, { fallback });

const days = (what: string, min: number, fallback: number) =>
  integer(`Days for which ${what} are kept`, min, 36_525, { fallback });

/** Every environment variable that Waybill reads. docs/configuration.md and .env.example are generated from it. */
export const settingsCatalogue = {
  NODE_ENV: choice(
    "`production` refuses embedded stores, the sandbox and generated secrets",
    ["development", "test", "production"],
    { fallback: "development" },
  ),
  SERVICES: list("The services that this process runs", serviceNames, [...serviceNames]),
  REQUEST_TIMEOUT_MS: integer(
    "Time limit of a request inside the platform; after it the response is 503 or 504. The limits of database statements and of calls between services follow it",
    DEFAULT_REQUEST_TIMEOUT_MS,
    60_000,
    { fallback: DEFAULT_REQUEST_TIMEOUT_MS },
  ),
  NAMESPACE: shaped(
    "Separates platforms that share a broker",
    /^[a-z0-9][a-z0-9-]{0,39}$/,
    "be 1 to 40 of a-z, 0-9 and -",
    { fallback: "waybill" },
  ),
  DATA_DIR: text("Folder of the embedded stores", { fallback: "./data" }),
  HOST: host("Address that the gateway listens on", "127.0.0.1"),
  PORT: port("Port of the REST API; for every port, 0 means any free one", 3000),
  OPS_HOST: host("Address that /livez, /readyz and /metrics listen on", "127.0.0.1"),
  OPS_PORT: port("Port of /livez, /readyz and /metrics", 3001),
  ALLOWED_HOSTS: shaped(
    "Comma-separated host names that requests to the operations port and the sandbox may use besides IP addresses and localhost, e.g. the name of a reverse proxy",
    /^[a-z0-9.-]{1,253}(, ?[a-z0-9.-]{1,253})*$/i,
    "be a comma-separated list of host names",
    { fallback: "" },
  ),
  PUBLIC_URL: url(
    "URL of the gateway for clients, banks and partners; unset: http://HOST:PORT",
    ["http", "https"],
    { neededBy: serviceNames },
  ),
  CORS_ORIGINS: shaped(
    "Comma-separated origins whose pages may call the API",
    /^https?:\/\/[^\s/,*]+(\s*,\s*https?:\/\/[^\s/,*]+)*$/,
    "be a comma-separated list of origins such as https://shop.example.org, without a path",
    { fallback: "" },
  ),
  TRUSTED_PROXIES: networks(
    "Comma-separated addresses and networks (CIDR) of the proxies whose X-Forwarded-For is trusted",
  ),
  RATE_LIMIT_ADDRESS: perMinute("from one address", 12_000),
  RATE_LIMIT_USER: perMinute("of one signed-in user", 3_000),
  RATE_LIMIT_SIGN_IN: perMinute("from one address for sign-up, sign-in, codes and passwords", 300),
  SANDBOX: flag("Runs the payment system, partner and deliverer of the sandbox beside the platform", true),
  SANDBOX_PORT: port("Port of the sandbox's checkout page and mailbox", 3002),
  LOG_LEVEL: choice("The least severe level that is logged; unset: info in production, else warn", [
    "fatal",
    "error",
    "warn",
    "info",
    "debug",
    "trace",
  ]),

  GRPC_HOST: host("Address that the bridge listens on", "127.0.0.1"),
  GRPC_PORT: port("Port of the bridge, the same for all services of this process; 0 takes any free one", 0),
  GRPC_ANNOUNCE: shaped(
    "Host of the bridge for other processes; unset: GRPC_HOST, or the address of this machine if GRPC_HOST means all addresses",
    /^(?=.{1,253}$)[a-z0-9]([a-z0-9.-]*[a-z0-9])?$|^[0-9a-f:.]*:[0-9a-f:.]*$/i,
    "be an IP address or a host name",
  ),
  GRPC_TLS_CERT: text(
    "PEM file with the gRPC certificate of this process; its DNS names are the names of its services, e.g. `orders`. It is read again each minute. Unset: no TLS, only for loopback",
  ),
  GRPC_TLS_KEY: text("PEM file with the key of GRPC_TLS_CERT"),
  GRPC_TLS_CA: text("PEM file with the certificate authorities of the nodes"),

  NATS_URL: url(
    "NATS server with JetStream; unset: all services run in this process and communicate in memory",
    ["nats", "tls"],
  ),
  NATS_USER: text("User of this process at NATS"),
  NATS_PASSWORD: password("Password of NATS_USER"),
  NATS_STREAM_MAX_MB: integer(
    "Maximum size of the message stream; while it is full, messages wait in the outboxes",
    16,
    1_048_576,
    { fallback: 1_024 },
  ),
  NATS_STREAM_MAX_AGE_HOURS: integer(
    "How long the stream keeps messages; a service that is down for longer misses messages",
    1,
    168,
    { fallback: 72 },
  ),
  NATS_STREAM_REPLICAS: integer("Number of servers of a NATS cluster that store each message", 1, 5, {
    fallback: 1,
  }),
  REDIS_URL: url(
    "Redis server of the cache, the checks and the rate limits; unset: the memory of this process",
    ["redis", "rediss"],
  ),
  MONGO_URL: url("MongoDB of the document store; unset: the databases of the services", [
    "mongodb",
    "mongodb+srv",
  ]),
  S3_ENDPOINT: url("S3 or MinIO server of the pictures; unset: a folder in DATA_DIR", ["http", "https"]),
  S3_REGION: text("Region of the bucket", { fallback: "us-east-1" }),
  S3_BUCKET: shaped("Bucket of the pictures", /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, "be a bucket's name", {
    fallback: "waybill",
  }),
  S3_ACCESS_KEY: text("Access key of the S3 server"),
  S3_SECRET_KEY: password("Secret key of the S3 server"),
  KEYCLOAK_URL: url("Keycloak server; unset: users, passwords and sessions are in identity's database", [
    "http",
    "https",
  ]),
  KEYCLOAK_REALM: text("Realm of the users", { fallback: "waybill" }),
  KEYCLOAK_CLIENT_ID: text("Client that identity uses, with a service account", { fallback: "waybill" }),
  KEYCLOAK_ISSUER: url("Issuer (`iss`) of the realm in tokens; unset: KEYCLOAK_URL/realms/KEYCLOAK_REALM", [
    "http",
    "https",
  ]),
  KEYCLOAK_TIMEOUT_MS: integer(
    "Time limit of an operation with all its calls to Keycloak; after it the response is 503",
    100,
    60_000,
    { fallback: 1_500 },
  ),
  KEYCLOAK_CLIENT_SECRET: password("Secret of KEYCLOAK_CLIENT_ID"),

  POSTGRES_URL_ORDERS: postgresUrl("orders"),
  POSTGRES_URL_PARTNERS: postgresUrl("partners"),
  POSTGRES_URL_NOTIFICATIONS: postgresUrl("notifications"),
  POSTGRES_URL_IDENTITY: postgresUrl("identity"),
  POSTGRES_POOL: integer("Maximum number of connections of each service", 2, 100, { fallback: 10 }),
  POSTGRES_ACQUIRE_TIMEOUT_MS: integer(
    "How long a request waits for a connection; after it the response is 503",
    50,
    60_000,
    { fallback: 300 },
  ),

  BRIDGE_SECRET: secret("Signs the credential of each gRPC call", serviceNames),
  BRIDGE_SECRET_PREVIOUS: secret("The previous BRIDGE_SECRET, also accepted while it is replaced"),
  HANDOVER_SECRET: secret(
    "Derives delivery PINs and tracking tokens; notifications needs the same one for the PIN in mails",
    ["orders"],
  ),
  DELIVERED_VISIBLE_MINUTES: integer(
    "How long after the end of an order its deliverer can see the customer and the address",
    0,
    10_080,
    { fallback: 60 },
  ),
  PARTNER_SEES_CUSTOMER_HOURS: integer(
    "How long after the end of an order the staff and the system of its partner can see the customer, the address and the note",
    2,
    8_760,
    { fallback: 24 },
  ),
  ASSIGNMENT: choice(
    "How ready orders find a deliverer, where a partner has no other setting: `pool`: deliverers choose; `offer`: each is offered to the best courier on duty for OFFER_SECONDS, then to the next one, then it is in the pool",
    ["pool", "offer"],
    { fallback: "pool" },
  ),
  OFFER_SECONDS: integer("How long a courier has to answer an offer", 10, 600, { fallback: 30 }),
  COURIER_ORDERS_MAX: integer(
    "How many orders a deliverer may deliver at once, unless an operator has set another number for the deliverer",
    1,
    1_000,
    { fallback: 20 },
  ),
  COURIER_SEES_PHONE: choice(
    "When a deliverer sees the customer's phone number, to call",
    ["delivering", "never"],
    { fallback: "delivering" },
  ),
  COURIER_NEAR_METERS: integer(
    "Within this distance a deliverer is near the partner, or near the customer",
    50,
    10_000,
    { fallback: 300 },
  ),
  SUPPORT_REFUND_MAX_MINOR: integer(
    "How much of one order the role support may refund in total, in minor units of the order's currency",
    0,
    1_000_000_000,
    { fallback: 5_000 },
  ),
  SEAL_SECRET: secret("Encrypts the secrets of banks, agents and webhooks at rest", [
    "identity",
    "orders",
    "partners",
    "notifications",
  ]),
  SEAL_SECRET_PREVIOUS: secret("The previous SEAL_SECRET, still used for decryption while it is replaced"),

  SMTP_URL: url("Mail server; unset: the sandbox's mailbox", ["smtp", "smtps"], {
    neededBy: ["notifications"],
  }),
  MAIL_FROM: text("Sender of e-mails", { fallback: "Waybill <no-reply@waybill.local>" }),
  APP_URL: url(
    "URL of your front app, to which mails link (docs/notifications.md lists its pages); unset: mails link only to the pages of the gateway",
    ["http", "https"],
  ),
  MAIL_BRAND_NAME: shaped(
    "Name of this platform in mails",
    /^(?! )[^\p{Cc}<>]{1,60}$/u,
    "be 1 to 60 characters without < and >",
    { fallback: "Waybill" },
  ),
  MAIL_BRAND_COLOR: shaped(
    "Colour of the buttons in mails",
    /^#[0-9a-f]{6}$/i,
    "be a colour such as #0b6e4f",
    { fallback: "#0b6e4f" },
  ),
  MAIL_LOGO_URL: url("Logo at the top of mails, a PNG shown 40 pixels high; unset: MAIL_BRAND_NAME", [
    "https",
  ]),
  MAIL_PIN: flag("Whether mails to customers about a courier on the way contain the delivery PIN", true),
  ONESIGNAL_API_URL: url("OneSignal's API", ["http", "https"], { fallback: "https://api.onesignal.com" }),
  FCM_API_URL: url("Firebase Cloud Messaging's API", ["http", "https"], {
    fallback: "https://fcm.googleapis.com",
  }),
  FCM_TOKEN_URL: url("Google's URL for access tokens of Firebase Cloud Messaging", ["http", "https"], {
    fallback: "https://oauth2.googleapis.com/token",
  }),
  APNS_API_URL: url(
    "Apple's Push Notification service; for apps run from Xcode: https://api.sandbox.push.apple.com",
    ["http", "https"],
    { fallback: "https://api.push.apple.com" },
  ),
  STRIPE_API_URL: url("Stripe's API", ["http", "https"], { fallback: "https://api.stripe.com" }),

  KEEP_ORDERS_DAYS: days("ended orders, with lines, payments and refunds,", 90, 3_653),
  KEEP_CUSTOMER_DATA_DAYS: days(
    "name, phone number, address and note of the customer in ended orders",
    30,
    400,
  ),
  KEEP_POSITIONS_DAYS: days("the last positions of deliveries", 1, 7),
  KEEP_AUDIT_DAYS: days("the entries of the audit log", 365, 3_653),
  KEEP_HISTORY_DAYS: days("the steps of orders and the reports of partners' systems", 30, 400),
  KEEP_NOTIFICATIONS_DAYS: days("notifications", 7, 90),
  KEEP_DEAD_LETTERS_DAYS: days("dead letters that were neither replayed nor dropped", 15, 90),
  KEEP_PHOTOS_DAYS: days("photos of deliveries", 7, 180),

  ADMIN_EMAIL: shaped(
    "E-mail address of the first admin, which the first start creates with ADMIN_PASSWORD",
    /^[^\s@]{1,64}@[^\s@]{1,189}$/,
    "be an e-mail address",
  ),
  ADMIN_PASSWORD: {
    ...shaped("Password of the first admin", /^.{8,128}$/su, "have 8 to 128 characters"),
    secret: true,
  },

  OTEL_EXPORTER_OTLP_ENDPOINT: url("OTLP collector for spans; unset: no tracing", ["http", "https"]),
} as const satisfies Record<string, Setting<unknown>>;
