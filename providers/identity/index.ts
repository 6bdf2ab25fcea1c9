export type { Sql } from "./built-in.repository.ts";
export { type BuiltInOptions, type BuiltInProvider, builtInProvider } from "./built-in.ts";
export { type KeycloakProviderOptions, keycloakProvider } from "./keycloak.ts";
export * from "./port.ts";
