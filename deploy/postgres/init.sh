#!/bin/sh
# The postgres image runs it once, when its volume is empty. Each service has one database, owned by the user of the
# migrations. The service's own user can read and write rows but cannot change tables or triggers, so that, for example,
# no service can rewrite the audit log.
set -eu

database() {
  name=$1 password=$2
  psql --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
    --set name="$name" --set password="$password" <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER migrate;
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
GRANT CONNECT, TEMPORARY ON DATABASE :"name" TO :"name";
\connect :"name"
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT ALL ON SCHEMA public TO migrate;
GRANT USAGE ON SCHEMA public TO :"name";
ALTER DEFAULT PRIVILEGES FOR ROLE migrate IN SCHEMA public
  GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO :"name";
ALTER DEFAULT PRIVILEGES FOR ROLE migrate IN SCHEMA public GRANT USAGE ON SEQUENCES TO :"name";
SQL
}

psql --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
  --set password="$POSTGRES_PASSWORD_MIGRATE" <<'SQL'
CREATE ROLE migrate LOGIN PASSWORD :'password';
SQL

database orders "$POSTGRES_PASSWORD_ORDERS"
database partners "$POSTGRES_PASSWORD_PARTNERS"
database notifications "$POSTGRES_PASSWORD_NOTIFICATIONS"
database identity "$POSTGRES_PASSWORD_IDENTITY"

# Keycloak runs its own migrations.
psql --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
  --set password="$POSTGRES_PASSWORD_KEYCLOAK" <<'SQL'
CREATE ROLE keycloak LOGIN PASSWORD :'password';
CREATE DATABASE keycloak OWNER keycloak;
REVOKE ALL ON DATABASE keycloak FROM PUBLIC;
SQL
