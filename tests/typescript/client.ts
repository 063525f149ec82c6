// The client: openapi-fetch with the generated types and our style of filters.

import createClient, { type Client } from "openapi-fetch";
import { queryOf } from "./query.js";
import type { components, paths } from "./schema.js";

export type Schemas = components["schemas"];

export function clientFor(baseUrl: string): Client<paths> {
  return createClient<paths>({ baseUrl, querySerializer: queryOf });
}
