import { accountRoutes } from "./account.ts";
import { callbackRoutes } from "./callbacks.ts";
import { catalogueRoutes } from "./catalogue.ts";
import { notificationRoutes } from "./notifications.ts";
import { operationRoutes } from "./operations.ts";
import { orderRoutes } from "./orders.ts";
import type { Route } from "./route.ts";
import { userRoutes } from "./users.ts";

export const BASE_PATH = "/api/v1";

/** All operations of the REST API. */
export const routes: readonly Route[] = [
  ...accountRoutes,
  ...catalogueRoutes,
  ...orderRoutes,
  ...notificationRoutes,
  ...callbackRoutes,
  ...userRoutes,
  ...operationRoutes,
];
