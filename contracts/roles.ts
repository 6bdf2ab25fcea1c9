import { roles } from "./meta.ts";
import { oneOf } from "./schema.ts";

export const role = oneOf(...roles);
