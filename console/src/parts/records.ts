// Records of the audit log as a person reads them, from what `GET /api/meta` says of actions, resources and fields.

import { meta, type Field } from "../api/meta.svelte.js";
import { label } from "../i18n.svelte.js";
import { nameOfObject } from "./names.svelte.js";
import { OTHER_TITLES } from "./titles.js";
import { textOf } from "./values.js";

export type Change = { field: string; before: unknown; after: unknown; hasBefore: boolean };
type Recorded = { version: number | null; changes: Record<string, unknown> };

/** The changes of a record. An event has no version, and its facts have no value before. */
export function changesOf({ version, changes }: Recorded): Change[] {
  return Object.entries(changes).map(([field, change]) => {
    if (typeof change === "object" && change !== null && "old" in change && "new" in change)
      return { field, before: change.old, after: change.new, hasBefore: version !== null };
    return { field, before: undefined, after: change, hasBefore: false };
  });
}

/** What happened, in a word; an action that this release does not know is shown as it is. */
export function nameOfAction(action: string): string {
  const known = meta.described.audit_actions.find((one) => one.value === action);
  return known ? label(known.labels) : action;
}

/** What a record is about: a resource, or the kind of an event. */
export function nameOfType(type: string): string {
  const known = meta.resource(type) ?? meta.described.audit_events.find((one) => one.value === type);
  return known ? label(known.labels) : type;
}

/** What one object of a resource is, such as `Server`; of an event its kind. */
export function nameOfKind(type: string): string {
  const resource = meta.resource(type);
  return resource ? label(resource.singular) : nameOfType(type);
}

export function nameOfField(type: string, name: string): string {
  const [first = name, ...rest] = name.split(".");
  const field = fieldOf(type, first);
  if (field) return [label(field.labels), ...rest].join(": ");
  const fact = OTHER_TITLES[name];
  return fact ? label(fact) : name;
}

/** The value of a field in a record as a person reads it: with its unit, enumerations by their labels. */
export function valueOf(type: string, name: string, value: unknown): string {
  const field = fieldOf(type, name);
  // A record keeps of a reference its id.
  if (field?.reference && typeof value === "number") return nameOfObject(field.reference.resource, value);
  return field ? textOf(field, value) : plain(value);
}

/** A value of which nothing is known: an attribute, or a fact of an event. */
function plain(value: unknown): string {
  if (value === null || value === undefined || value === "") return "—";
  if (Array.isArray(value)) return value.length ? value.map(plain).join(", ") : "—";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function fieldOf(type: string, name: string): Field | undefined {
  return meta.resource(type)?.fields.find((field) => field.name === name);
}
