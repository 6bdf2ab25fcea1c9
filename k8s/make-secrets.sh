#!/bin/sh
# Prints the Secrets of k8s/overlays/dev with new passwords and certificates. It writes no file:
#   sh k8s/make-secrets.sh | kubectl apply -f -
# Needs Node 24, or `npm ci` in this clone.
# For production, the output shows the keys of each Secret. Create them with your secret manager.
# eval sets the variables:
# shellcheck disable=SC2154
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
PATH="$root/node_modules/.bin:$PATH"
certificates=$(mktemp -d)
trap 'rm -rf "$certificates"' EXIT
node "$root/platform/commands/certificates.ts" --authority "$certificates/authority" --to "$certificates" \
  gateway orders partners notifications identity media > /dev/null

base64_of() { base64 < "$1" | tr -d '\n'; }
secret() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }

for name in GATEWAY ORDERS PARTNERS NOTIFICATIONS IDENTITY MEDIA OPERATOR DEPLOY MONITOR; do
  eval "nats_$name=$(secret)"
done
for name in MIGRATE ORDERS PARTNERS NOTIFICATIONS IDENTITY KEYCLOAK; do
  eval "postgres_$name=$(secret)"
done
redis=$(secret) mongo=$(secret) s3=$(secret) keycloak=$(secret) bridge=$(secret) seal=$(secret)
handover=$(secret)

# Prints the Secret with a service's certificate, and the first lines of the service's own Secret.
service() {
  eval "nats=\$nats_$(printf %s "$1" | tr '[:lower:]' '[:upper:]')"
  cat <<END
---
apiVersion: v1
kind: Secret
metadata: { name: waybill-$1-grpc, namespace: waybill }
type: kubernetes.io/tls
data:
  ca.crt: $(base64_of "$certificates/$1/ca.crt")
  tls.crt: $(base64_of "$certificates/$1/tls.crt")
  tls.key: $(base64_of "$certificates/$1/tls.key")
---
apiVersion: v1
kind: Secret
metadata: { name: waybill-$1, namespace: waybill }
stringData:
  NATS_USER: $1
  NATS_PASSWORD: $nats
  REDIS_URL: redis://:$redis@redis:6379
  BRIDGE_SECRET: $bridge
END
}

service gateway

service orders
cat <<END
  SEAL_SECRET: $seal
  HANDOVER_SECRET: $handover
  POSTGRES_URL_ORDERS: postgres://orders:$postgres_ORDERS@postgres:5432/orders
  MONGO_URL: mongodb://waybill:$mongo@mongo:27017/waybill?authSource=waybill
END

service partners
cat <<END
  SEAL_SECRET: $seal
  POSTGRES_URL_PARTNERS: postgres://partners:$postgres_PARTNERS@postgres:5432/partners
END

service notifications
cat <<END
  SEAL_SECRET: $seal
  HANDOVER_SECRET: $handover
  POSTGRES_URL_NOTIFICATIONS: postgres://notifications:$postgres_NOTIFICATIONS@postgres:5432/notifications
  SMTP_URL: smtp://mail:1025
  MONGO_URL: mongodb://waybill:$mongo@mongo:27017/waybill?authSource=waybill
END

service identity
cat <<END
  SEAL_SECRET: $seal
  POSTGRES_URL_IDENTITY: postgres://identity:$postgres_IDENTITY@postgres:5432/identity
  KEYCLOAK_CLIENT_SECRET: $keycloak
  ADMIN_EMAIL: admin@delivery.local
  ADMIN_PASSWORD: $(secret)
END

service media
cat <<END
  S3_ACCESS_KEY: waybill
  S3_SECRET_KEY: $s3
END

cat <<END
---
apiVersion: v1
kind: Secret
metadata: { name: waybill-migrate, namespace: waybill }
stringData:
  POSTGRES_URL_ORDERS: postgres://migrate:$postgres_MIGRATE@postgres:5432/orders
  POSTGRES_URL_PARTNERS: postgres://migrate:$postgres_MIGRATE@postgres:5432/partners
  POSTGRES_URL_NOTIFICATIONS: postgres://migrate:$postgres_MIGRATE@postgres:5432/notifications
  POSTGRES_URL_IDENTITY: postgres://migrate:$postgres_MIGRATE@postgres:5432/identity
  NATS_USER: deploy
  NATS_PASSWORD: $nats_DEPLOY
---
apiVersion: v1
kind: Secret
metadata: { name: nats, namespace: waybill }
stringData:
  NATS_PASSWORD_GATEWAY: $nats_GATEWAY
  NATS_PASSWORD_ORDERS: $nats_ORDERS
  NATS_PASSWORD_PARTNERS: $nats_PARTNERS
  NATS_PASSWORD_NOTIFICATIONS: $nats_NOTIFICATIONS
  NATS_PASSWORD_IDENTITY: $nats_IDENTITY
  NATS_PASSWORD_MEDIA: $nats_MEDIA
  NATS_PASSWORD_OPERATOR: $nats_OPERATOR
  NATS_PASSWORD_DEPLOY: $nats_DEPLOY
  NATS_PASSWORD_MONITOR: $nats_MONITOR
---
apiVersion: v1
kind: Secret
metadata: { name: postgres, namespace: waybill }
stringData:
  POSTGRES_PASSWORD: $(secret)
  POSTGRES_PASSWORD_MIGRATE: $postgres_MIGRATE
  POSTGRES_PASSWORD_ORDERS: $postgres_ORDERS
  POSTGRES_PASSWORD_PARTNERS: $postgres_PARTNERS
  POSTGRES_PASSWORD_NOTIFICATIONS: $postgres_NOTIFICATIONS
  POSTGRES_PASSWORD_IDENTITY: $postgres_IDENTITY
  POSTGRES_PASSWORD_KEYCLOAK: $postgres_KEYCLOAK
---
apiVersion: v1
kind: Secret
metadata: { name: redis, namespace: waybill }
stringData:
  REDIS_PASSWORD: $redis
---
apiVersion: v1
kind: Secret
metadata: { name: mongo, namespace: waybill }
stringData:
  MONGO_ROOT_PASSWORD: $(secret)
  MONGO_PASSWORD: $mongo
---
apiVersion: v1
kind: Secret
metadata: { name: minio, namespace: waybill }
stringData:
  MINIO_ROOT_PASSWORD: $(secret)
---
apiVersion: v1
kind: Secret
metadata: { name: keycloak, namespace: waybill }
stringData:
  KEYCLOAK_ADMIN_PASSWORD: $(secret)
  KEYCLOAK_CLIENT_SECRET: $keycloak
END
