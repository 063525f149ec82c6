// The question that is in the address, as the API asks it.

import type { Schemas } from "../../api/client.js";
import { meta } from "../../api/meta.svelte.js";

export type AuditRecord = Schemas["AuditLog"];

const RESTORABLE = ["delete", "update", "assign", "release", "restore", "revert"];

/** Whether the record is about an object of a resource, which has a page and a history. */
export function isOfObject({ resource_type, resource_id }: AuditRecord): boolean {
  return meta.resource(resource_type) !== undefined && resource_id !== null;
}

/** Whether what the record describes can be taken back. */
export function isRestorable(record: AuditRecord): boolean {
  return isOfObject(record) && RESTORABLE.includes(record.action);
}

/** Parameters that are conditions of `filter`; the others stand beside it. */
const CONDITIONS = ["username", "resource_type", "resource_id", "action", "ip_address", "request_id"] as const;
const TIMES = { since: "created_at__gte", until: "created_at__lte" } as const;
const BESIDE = ["q", "field", "from", "to"] as const;

export const NAMES = [...CONDITIONS, ...BESIDE, "since", "until"] as const;
export type Name = (typeof NAMES)[number];

export function auditQuery(address: URLSearchParams): Record<string, unknown> {
  const given = (name: string): string | undefined => address.get(name) ?? undefined;
  const filter: Record<string, string | undefined> = {};
  for (const name of CONDITIONS) filter[name] = given(name);
  for (const [name, condition] of Object.entries(TIMES)) filter[condition] = given(name);
  const beside = Object.fromEntries(BESIDE.map((name) => [name, given(name)]));
  return { ...beside, filter };
}

export type Question = { key: "retired" | "deleted" | "failedLogins" | "refusals" | "imports"; query: Partial<Record<Name, string>> };

/** Where the answer to a question is. */
export function questionAddress(query: Question["query"]): string {
  return `/audit?${new URLSearchParams(query)}`;
}

/** What administrators ask most, each one click away. */
export const QUESTIONS: readonly Question[] = [
  { key: "retired", query: { resource_type: "servers", field: "status", from: "active" } },
  { key: "deleted", query: { action: "delete" } },
  { key: "imports", query: { action: "import" } },
  { key: "failedLogins", query: { action: "login_failed" } },
  { key: "refusals", query: { action: "denied" } },
];
