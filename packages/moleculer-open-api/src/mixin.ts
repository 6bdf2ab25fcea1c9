import type { Service, ServiceSchema } from "moleculer";
import { type DocumentOptions, openApiDocument } from "./document.ts";
import type { JsonSchema } from "./json-schema.ts";
import {
  type Documented,
  errorSchema,
  type GatewayAction,
  type GatewayAlias,
  operationsOf,
} from "./operations.ts";
import { type PageRoute, page, pageRoute, swaggerUi } from "./pages.ts";

declare module "moleculer" {
  interface ActionSchema {
    /** The description of the action in the OpenAPI document. */
    openapi?: Documented;
  }
}

export interface OpenApiOptions extends Omit<DocumentOptions, "operations"> {
  /** The path of the pages, below the gateway's own. Default: /openapi */
  path?: string;
  /** The security requirement of routes with `authentication` or `authorization`, as `[{ bearer: [] }]`. */
  security?: readonly object[];
  /** Further settings of the route that serves the pages: `authorization`, `use` and so on. */
  route?: Readonly<Record<string, unknown>>;
}

/** The parts of moleculer-web's service that the mixin uses. */
interface Gateway extends Service {
  aliases: readonly GatewayAlias[];
  addRoute(route: PageRoute): GatewayAlias["route"];
  checkWhitelist(route: object, action: string): boolean;
  checkBlacklist(route: object, action: string): boolean;
}

interface ListedAction {
  action?: GatewayAction & { visibility?: string };
}

/**
 * A mixin for the service of moleculer-web. It serves the OpenAPI 3.1 document of the gateway's aliases at
 * `<path>/openapi.json` and Swagger UI at `<path>/`. The document follows services that come and go.
 */
export function OpenApi(options: OpenApiOptions): Partial<ServiceSchema> {
  const { path = "/openapi", security, route, ...document } = options;
  /** Made by the first request after a change. moleculer-web replaces its list of aliases whenever it changes it. */
  let made: { of: unknown; json: Buffer } | undefined;

  const documentOf = (gateway: Gateway): JsonSchema => {
    const operations = operationsOf(callable(gateway), actionsOf(gateway), security);
    return openApiDocument({
      ...document,
      operations,
      schemas: { Error: errorSchema, ...document.schemas },
    });
  };

  return {
    events: {
      "$services.changed"() {
        made = undefined;
      },
    },
    started(this: Service) {
      const gateway = this as Gateway;
      const pages = pageRoute("openapi", path, {
        ...swaggerUi({ title: options.info.title, documentUrl: "./openapi.json" }),
        "GET /openapi.json": (_req, res) => {
          if (made?.of !== gateway.aliases) {
            made = { of: gateway.aliases, json: Buffer.from(JSON.stringify(documentOf(gateway))) };
          }
          page(res, "application/json; charset=utf-8", made.json);
        },
      });
      const added = gateway.addRoute({ ...pages, ...route, openapi: false } as PageRoute);
      // Before the aliases of other routes: with `optimizeOrder: false` a placeholder takes what it matches first.
      const isOwn = (alias: GatewayAlias) => alias.route === added;
      gateway.aliases = [
        ...gateway.aliases.filter(isOwn),
        ...gateway.aliases.filter((alias) => !isOwn(alias)),
      ];
    },
  };
}

/** The aliases that moleculer-web does not refuse. */
function callable(gateway: Gateway): GatewayAlias[] {
  return gateway.aliases.filter(({ action, route }) => {
    const { hasWhitelist, hasBlacklist } = route as { hasWhitelist?: boolean; hasBlacklist?: boolean };
    if (action === null) return true;
    if (hasWhitelist && !gateway.checkWhitelist(route, action)) return false;
    return !(hasBlacklist && gateway.checkBlacklist(route, action));
  });
}

/** The published actions of every service that the node knows. */
function actionsOf({ broker }: Service): Map<string, GatewayAction> {
  const listed = broker.registry.getActionList({}) as unknown as ListedAction[];
  return new Map(
    listed.flatMap(({ action }) =>
      action && (action.visibility ?? "published") === "published" ? [[action.name, action] as const] : [],
    ),
  );
}
