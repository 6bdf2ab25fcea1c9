#!/bin/sh
set -eu
exec ferretdb --handler=sqlite --sqlite-url=file:/data/db/ --state-dir=/tmp --listen-addr=:27017 --debug-addr=- \
  --telemetry=disable --log-level=error \
  --test-enable-new-auth --setup-username=waybill --setup-password="$MONGO_PASSWORD" --setup-database=waybill
