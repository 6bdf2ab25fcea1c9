import FastestValidator from "fastest-validator";

type Check = (...values: unknown[]) => unknown;
const validator = FastestValidator as unknown as { prototype: { compile(schema: object): Check } };

/**
 * Records the calls of every check that is compiled from now on: those of the gateway, of the brokers and of messages. To
 * be called before the services are created.
 * @returns runs the work, and returns the fields of each schema that a value was checked by meanwhile, in order
 */
export function recordSchemaChecks(): (work: () => Promise<unknown>) => Promise<string[]> {
  const { compile } = validator.prototype;
  let recorded: string[] | undefined;
  validator.prototype.compile = function (schema) {
    const check = compile.call(this, schema);
    const fields = (schema as { props?: object }).props ?? schema;
    const names = Object.keys(fields).filter((name) => !name.startsWith("$$"));
    return (...values) => {
      recorded?.push(names.join(", "));
      return check(...values);
    };
  };
  return async (work) => {
    recorded = [];
    await work();
    const found = recorded;
    recorded = undefined;
    return found;
  };
}
