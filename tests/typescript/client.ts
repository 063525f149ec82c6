// The client: openapi-fetch with the generated types, our style of filters, and forms with files.

import createClient, { type Client } from "openapi-fetch";
import type { components, paths } from "./schema.js";

export type Schemas = components["schemas"];

export function clientFor(baseUrl: string): Client<paths> {
  return createClient<paths>({ baseUrl, querySerializer: queryOf });
}

/** The query string: an object's members are parameters of their own, and a list is separated by commas. */
function queryOf(parameters: Record<string, unknown>): string {
  const query = new URLSearchParams();
  const add = (name: string, value: unknown): void => {
    if (Array.isArray(value)) query.append(name, value.join(","));
    else if (value !== null && typeof value === "object") Object.entries(value).forEach(([key, one]) => add(key, one));
    else if (value !== undefined && value !== null) query.append(name, String(value));
  };
  Object.entries(parameters).forEach(([name, value]) => add(name, value));
  return query.toString();
}

/** The body of a form: a Blob is sent as a file. */
export function formOf(fields: Record<string, unknown>, filename: string): FormData {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) {
    if (value instanceof Blob) form.append(name, value, filename);
    else if (value !== undefined) form.append(name, String(value));
  }
  return form;
}
