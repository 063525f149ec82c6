// What a list shows is in its address: filters as the API has them, beside what only the page knows.

import type { Field, Resource } from "../../api/meta.svelte.js";

/** Parameters that are no filters. */
const OWN = ["q", "sort", "page", "cursor", "columns", "selected", "dialog"];

export type Filter = { parameter: string; field: Field | undefined; operator: string; value: string };

export function filtersIn(resource: Resource, query: URLSearchParams): Filter[] {
  return [...query].filter(([name]) => !OWN.includes(name)).map(([parameter, value]) => {
    const [name = "", operator = ""] = splitParameter(parameter);
    return { parameter, field: fieldNamed(resource, name), operator, value };
  });
}

/** The conditions of the API: those in the address, a value for each name. */
export function conditions(query: URLSearchParams): Record<string, string> {
  return Object.fromEntries([...query].filter(([name]) => !OWN.includes(name)));
}

export function splitParameter(parameter: string): string[] {
  const at = parameter.lastIndexOf("__");
  return at < 0 ? [parameter, ""] : [parameter.slice(0, at), parameter.slice(at + 2)];
}

/** A field by its name, or by the name under which its reference is read: `datacenter` is `datacenter_id`. */
export function fieldNamed(resource: Resource, name: string): Field | undefined {
  return resource.fields.find((field) => field.name === name || field.reads_as === name);
}

const FIRST_COLUMNS = 7;
const UNSUITED = ["attributes", "objects", "document"];
/** Fields about the record itself. */
export const HOUSEKEEPING = ["id", "version", "created_by_id", "created_at", "updated_at", "image_url"];

/** The columns at first: the beginning of the form, without what is long or about the record itself. */
export function firstColumns({ fields }: Resource): string[] {
  const suited = fields.filter(({ name, kind, write_only }) => !write_only && !HOUSEKEEPING.includes(name) && !UNSUITED.includes(kind));
  return suited.slice(0, FIRST_COLUMNS).map(({ name }) => name);
}

export type Order = { name: string; isDescending: boolean };

export function orderIn(query: URLSearchParams): Order[] {
  const names = (query.get("sort") ?? "").split(",").filter(Boolean);
  return names.map((name) => ({ name: name.replace(/^-/, ""), isDescending: name.startsWith("-") }));
}

/** A click sorts by one column, and turns it the second time; with Shift it is added to the others. */
export function sorted(order: Order[], name: string, isAdded: boolean): string {
  const before = order.find((one) => one.name === name);
  const turned = { name, isDescending: before ? !before.isDescending : false };
  const rest = isAdded ? order.filter((one) => one.name !== name) : [];
  return [...rest, turned].map((one) => (one.isDescending ? `-${one.name}` : one.name)).join(",");
}
