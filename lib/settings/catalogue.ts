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

const postgresUrl = (service: ServiceName) =>
  url(`PostgreSQL database of ${service}; unset: the embedded server`, ["postgres", "postgresql"], {
    neededBy: [service],
  });

const perMinute = (which: string, fallback: number) =>
  integer(`Requests a minute ${which}; 0: any number`, 0, 10_000_000, { fallback });

const days = (what: string, min: number, fallback: number) =>
  integer(`How many days ${what} are kept`, min, 36_525, { fallback });

/** Every environment variable that Waybill reads. docs/configuration.md and .env.example are generated from it. */
export const settingsCatalogue = {
  NODE_ENV: choice(
    "`production` refuses embedded stores, the sandbox and generated secrets",
    ["development", "test", "production"],
    { fallback: "development" },
  ),
  SERVICES: list("The services that this process runs", serviceNames, [...serviceNames]),
  NAMESPACE: shaped(
    "Separates platforms that share a broker",
    /^[a-z0-9][a-z0-9-]{0,39}$/,
    "be 1 to 40 of a-z, 0-9 and -",
    { fallback: "waybill" },
  ),
  DATA_DIR: text("Folder of the embedded stores", { fallback: "./data" }),
  HOST: host("Address that the gateway listens on", "127.0.0.1"),
  PORT: port("Port of the REST API; 0 takes any free one, as with the other ports", 3000),
  OPS_HOST: host("Address that /livez, /readyz and /metrics listen on", "127.0.0.1"),
  OPS_PORT: port("Port of /livez, /readyz and /metrics", 3001),
  ALLOWED_HOSTS: shaped(
    "Names, comma-separated, that the operations port and the sandbox may be asked by, besides IP addresses and localhost: those of a reverse proxy before them",
    /^[a-z0-9.-]{1,253}(, ?[a-z0-9.-]{1,253})*$/i,
    "be a comma-separated list of host names",
    { fallback: "" },
  ),
  PUBLIC_URL: url(
    "Where clients, banks and partners reach the gateway; unset: http://HOST:PORT",
    ["http", "https"],
    { neededBy: serviceNames },
  ),
  CORS_ORIGINS: shaped(
    "Exact origins, comma-separated, whose pages may call the API",
    /^https?:\/\/[^\s/,*]+(\s*,\s*https?:\/\/[^\s/,*]+)*$/,
    "be a comma-separated list of origins such as https://shop.example.org, without a path",
    { fallback: "" },
  ),
  TRUSTED_PROXIES: networks(
    "Addresses and networks (CIDR), comma-separated, of the proxies whose X-Forwarded-For is believed",
  ),
  RATE_LIMIT_ADDRESS: perMinute("from one address", 12_000),
  RATE_LIMIT_USER: perMinute("of one signed-in user", 3_000),
  RATE_LIMIT_SIGN_IN: perMinute("from one address that sign up, sign in or send a code or password", 300),
  SANDBOX: flag("Runs the payment system, partner and deliverer of the sandbox beside the platform", true),
  SANDBOX_PORT: port("Port of the sandbox's checkout page and mailbox", 3002),
  LOG_LEVEL: choice("How much is logged; unset: info in production, else warn", [
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
    "Host that other processes reach the bridge at; unset: GRPC_HOST, or where that is any address, this machine's",
    /^(?=.{1,253}$)[a-z0-9]([a-z0-9.-]*[a-z0-9])?$|^[0-9a-f:.]*:[0-9a-f:.]*$/i,
    "be an IP address or a host name",
  ),
  GRPC_TLS_CERT: text(
    "PEM file with this process's certificate for gRPC, whose DNS names are those of its nodes, as `orders`; read again each minute. Unset: no TLS, which is for loopback",
  ),
  GRPC_TLS_KEY: text("PEM file with the key of GRPC_TLS_CERT"),
  GRPC_TLS_CA: text("PEM file with the authorities that issue the certificates of the nodes"),

  NATS_URL: url("NATS server with JetStream; unset: all services in this process, joined in memory", [
    "nats",
    "tls",
  ]),
  NATS_USER: text("User of this process at NATS"),
  NATS_PASSWORD: password("Password of NATS_USER"),
  NATS_STREAM_MAX_MB: integer(
    "Size of the stream of messages; when it is full, they wait in the outboxes",
    16,
    1_048_576,
    { fallback: 1_024 },
  ),
  NATS_STREAM_MAX_AGE_HOURS: integer(
    "How long the stream keeps messages: a service that is away for longer misses some",
    1,
    168,
    { fallback: 72 },
  ),
  NATS_STREAM_REPLICAS: integer("On how many servers of a NATS cluster each message is kept", 1, 5, {
    fallback: 1,
  }),
  REDIS_URL: url("Redis of the cache, the checks and the rate limits; unset: this process's memory", [
    "redis",
    "rediss",
  ]),
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
  KEYCLOAK_ISSUER: url("How Keycloak names the realm in tokens; unset: KEYCLOAK_URL/realms/KEYCLOAK_REALM", [
    "http",
    "https",
  ]),
  KEYCLOAK_TIMEOUT_MS: integer(
    "How long an operation at Keycloak may take, all its calls together, before it is answered 503",
    100,
    60_000,
    { fallback: 1_500 },
  ),
  KEYCLOAK_CLIENT_SECRET: password("Secret of KEYCLOAK_CLIENT_ID"),

  POSTGRES_URL_ORDERS: postgresUrl("orders"),
  POSTGRES_URL_PARTNERS: postgresUrl("partners"),
  POSTGRES_URL_NOTIFICATIONS: postgresUrl("notifications"),
  POSTGRES_URL_IDENTITY: postgresUrl("identity"),
  POSTGRES_POOL: integer("Connections that each service keeps at most", 2, 100, { fallback: 10 }),
  POSTGRES_ACQUIRE_TIMEOUT_MS: integer(
    "How long a request waits for one of them before it is answered 503",
    50,
    60_000,
    { fallback: 300 },
  ),

  BRIDGE_SECRET: secret("Signs the credential of each gRPC call", serviceNames),
  BRIDGE_SECRET_PREVIOUS: secret("Accepted beside BRIDGE_SECRET, while it is being replaced"),
  HANDOVER_SECRET: secret("Derives delivery PINs and tracking tokens", ["orders"]),
  DELIVERED_VISIBLE_MINUTES: integer(
    "How long after its end a deliverer still sees the customer and the address of an order",
    0,
    10_080,
    { fallback: 60 },
  ),
  SEAL_SECRET: secret("Encrypts the secrets of banks, agents and webhooks at rest", [
    "identity",
    "orders",
    "partners",
    "notifications",
  ]),
  SEAL_SECRET_PREVIOUS: secret("The former SEAL_SECRET, while it is being replaced"),

  SMTP_URL: url("Mail server; unset: the sandbox's mailbox", ["smtp", "smtps"], {
    neededBy: ["notifications"],
  }),
  MAIL_FROM: text("Sender of e-mails", { fallback: "Waybill <no-reply@waybill.local>" }),
  ONESIGNAL_API_URL: url("OneSignal's API", ["http", "https"], { fallback: "https://api.onesignal.com" }),
  FCM_API_URL: url("Firebase Cloud Messaging's API", ["http", "https"], {
    fallback: "https://fcm.googleapis.com",
  }),
  FCM_TOKEN_URL: url("Where Google gives access tokens for it", ["http", "https"], {
    fallback: "https://oauth2.googleapis.com/token",
  }),
  APNS_API_URL: url(
    "Apple's Push Notification service; for apps run from Xcode: https://api.sandbox.push.apple.com",
    ["http", "https"],
    { fallback: "https://api.push.apple.com" },
  ),
  STRIPE_API_URL: url("Stripe's API", ["http", "https"], { fallback: "https://api.stripe.com" }),

  KEEP_ORDERS_DAYS: days("orders that have ended, with lines, payments and refunds,", 90, 3_653),
  KEEP_HISTORY_DAYS: days("the steps of an order and what its partner's system reported", 30, 400),
  KEEP_NOTIFICATIONS_DAYS: days("notifications", 7, 90),
  KEEP_DEAD_LETTERS_DAYS: days("dead letters that nobody replayed or dropped", 15, 90),
  KEEP_PHOTOS_DAYS: days("photos of deliveries", 7, 180),

  ADMIN_EMAIL: shaped(
    "With ADMIN_PASSWORD: the first admin, made at the first start",
    /^[^\s@]{1,64}@[^\s@]{1,189}$/,
    "be an e-mail address",
  ),
  ADMIN_PASSWORD: {
    ...shaped("Password of the first admin", /^.{8,128}$/su, "have 8 to 128 characters"),
    secret: true,
  },

  OTEL_EXPORTER_OTLP_ENDPOINT: url("Collector that spans are sent to; unset: tracing costs nothing", [
    "http",
    "https",
  ]),
} as const satisfies Record<string, Setting<unknown>>;
