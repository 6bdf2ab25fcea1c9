export {
  type Answer,
  type Content,
  type DocumentOptions,
  type Info,
  type MediaType,
  type Operation,
  type OperationOverrides,
  openApiDocument,
  operationIdOf,
  type Parameter,
  type Webhook,
} from "./document.ts";
export { type ExampleOptions, exampleOf } from "./example.ts";
export { componentsOf, type JsonSchema, jsonSchemaOf, patternOf, type SchemaOptions } from "./json-schema.ts";
export { OpenApi, type OpenApiOptions } from "./mixin.ts";
export type { Documented } from "./operations.ts";
export {
  type Handler,
  type PageRoute,
  page,
  pageRoute,
  redirect,
  type SwaggerUiOptions,
  swaggerUi,
} from "./pages.ts";
export type { AnyRule, Props, Rule, RuleDefinition } from "./rule.ts";
