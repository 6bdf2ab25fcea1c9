#!/bin/sh
# Writes .env for docker-compose.yml with random passwords. No other file contains them.
#   sh deploy/compose/make-env.sh
set -eu
cd "$(dirname "$0")/../.."

target=${1:-.env}
if [ -e "$target" ]; then
  echo "$target exists already. The volumes use its passwords: remove both or neither." >&2
  exit 1
fi

secret() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }

umask 077
cat > "$target.half" <<END
# The profiles that docker compose starts. Add telemetry for traces, metrics and dashboards.
COMPOSE_PROJECT_NAME=waybill
COMPOSE_PROFILES=core

# The URL by which clients, banks and partners reach the platform, and the ports opened on this machine's loopback.
PUBLIC_URL=http://127.0.0.1:8080
API_PORT=8080
MAIL_PORT=8025
GRAFANA_PORT=8030
JAEGER_PORT=8040

# The network of the proxy and the gateways. Change it if these addresses are in use, or for a second platform.
EDGE_SUBNET=10.213.77.0/28

# Addresses and networks of proxies in front of this one, comma-separated. Their X-Forwarded-For is trusted. Connections
# from the loopback of this machine are always trusted.
TRUSTED_PROXIES=

# The URL that spans are sent to: http://collector:4318 with the profile telemetry. Empty: no spans are sent.
OTEL_EXPORTER_OTLP_ENDPOINT=

# The first operator: sign in with it, then invite people.
ADMIN_EMAIL=admin@waybill.local
ADMIN_PASSWORD=$(secret)

# Keep a copy: data that is encrypted with them cannot be read without them.
SEAL_SECRET=$(secret)
HANDOVER_SECRET=$(secret)
BRIDGE_SECRET=$(secret)

POSTGRES_PASSWORD=$(secret)
POSTGRES_PASSWORD_MIGRATE=$(secret)
POSTGRES_PASSWORD_ORDERS=$(secret)
POSTGRES_PASSWORD_PARTNERS=$(secret)
POSTGRES_PASSWORD_NOTIFICATIONS=$(secret)
POSTGRES_PASSWORD_IDENTITY=$(secret)
POSTGRES_PASSWORD_KEYCLOAK=$(secret)

NATS_PASSWORD_GATEWAY=$(secret)
NATS_PASSWORD_ORDERS=$(secret)
NATS_PASSWORD_PARTNERS=$(secret)
NATS_PASSWORD_NOTIFICATIONS=$(secret)
NATS_PASSWORD_IDENTITY=$(secret)
NATS_PASSWORD_MEDIA=$(secret)
NATS_PASSWORD_OPERATOR=$(secret)
NATS_PASSWORD_DEPLOY=$(secret)
NATS_PASSWORD_MONITOR=$(secret)

REDIS_PASSWORD=$(secret)

MONGO_ROOT_PASSWORD=$(secret)
MONGO_PASSWORD=$(secret)

MINIO_ROOT_PASSWORD=$(secret)
S3_SECRET_KEY=$(secret)

KEYCLOAK_ADMIN_PASSWORD=$(secret)
KEYCLOAK_CLIENT_SECRET=$(secret)

GRAFANA_PASSWORD=$(secret)
END
mv "$target.half" "$target"
echo "$target is written. Next: docker compose up --detach"
