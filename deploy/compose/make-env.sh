#!/bin/sh
# Writes .env for docker-compose.yml: every password is made here, on this machine, and stands nowhere else.
#   sh deploy/compose/make-env.sh
set -eu
cd "$(dirname "$0")/../.."

target=${1:-.env}
if [ -e "$target" ]; then
  echo "$target is there already. Its passwords are those of the volumes: remove both, or neither." >&2
  exit 1
fi

secret() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }

umask 077
cat > "$target.half" <<END
# What docker compose starts: add telemetry for traces, metrics and dashboards.
COMPOSE_PROJECT_NAME=waybill
COMPOSE_PROFILES=core

# Where clients, banks and partners reach the platform, and the ports of this machine's loopback that are opened.
PUBLIC_URL=http://127.0.0.1:8080
API_PORT=8080
MAIL_PORT=8025
GRAFANA_PORT=8030
JAEGER_PORT=8040

# The network of the proxy and the gateways: another one where these addresses are taken, or for a second platform.
EDGE_SUBNET=10.213.77.0/28

# Who stands before the proxy and says where clients come from: addresses and networks, comma-separated. What comes
# through the loopback of this machine is believed without.
TRUSTED_PROXIES=

# Where spans are sent: http://collector:4318 with the profile telemetry, nothing without it.
OTEL_EXPORTER_OTLP_ENDPOINT=

# The first operator: sign in with it, then invite people.
ADMIN_EMAIL=admin@waybill.local
ADMIN_PASSWORD=$(secret)

# Lost, they take with them what they encrypted: keep a copy.
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
