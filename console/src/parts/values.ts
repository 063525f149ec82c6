// Values of fields as a person reads them, from what `GET /api/meta` says of the field.

import type { AnyObject } from "../api/objects.js";
import { meta, type Field, type Resource } from "../api/meta.svelte.js";
import { dictionary, formatDate, formatNumber, formatTime, label } from "../i18n.svelte.js";

export const t = dictionary({ yes: "Yes", no: "No", none: "—" }, { yes: "是", no: "否", none: "—" });

const UNITS = dictionary({ cores: "core|cores" }, { cores: "核" });

/** A unit as people write it: words in their language, and `GB` as it is. */
export function unitOf(unit: string, n: number | string = 2): string {
  return unit === "cores" ? UNITS(unit, { n }) : unit;
}

export type Named = { id: number; name: string | null };

/** What an object is called: the field by which others refer to it. */
export function nameOf(resource: Resource, object: AnyObject): string {
  const field = labelField(resource);
  const name = field && object[field];
  return name === undefined || name === null || name === "" ? `#${object.id}` : String(name);
}

/** What one object of a resource is called within a sentence: `server`, `GPU`. */
export function nameOfOne({ singular }: Resource): string {
  return inSentence(label(singular));
}

/** A title within a sentence: `Servers` as `servers`, `GPUs` as it is. */
export function inSentence(text: string): string {
  return /^[A-Z][a-z]/.test(text) ? text.charAt(0).toLowerCase() + text.slice(1) : text;
}

/** The field by which objects of a resource are called; references to it name the field. */
export function labelField(resource: Resource): string | undefined {
  for (const other of meta.resources)
    for (const { reference } of other.fields) if (reference?.resource === resource.name) return reference.label;
  const required = resource.fields.find((field) => field.kind === "text" && field.required && !field.read_only);
  return required?.name;
}

/** A field's value as one line of text. */
export function textOf(field: Field, value: unknown): string {
  if (isEmpty(value)) return t("none");
  switch (field.kind) {
    case "choice": {
      const choice = field.choices?.find((one) => one.value === value);
      return choice ? label(choice.labels) : String(value);
    }
    case "boolean":
      return t(value ? "yes" : "no");
    case "integer":
    case "number": {
      const number = formatNumber(Number(value), { maximumFractionDigits: 3 });
      return field.unit ? `${number} ${unitOf(field.unit, number)}` : number;
    }
    case "money":
      return formatNumber(Number(value), { minimumFractionDigits: 2 });
    case "date":
      return formatDate(String(value));
    case "time":
      return formatTime(String(value));
    case "reference":
      return isNamed(value) ? (value.name ?? `#${value.id}`) : `#${String(value)}`;
    case "list":
      return (value as unknown[]).join(", ");
    case "objects":
      return (value as Record<string, unknown>[]).map((one) => Object.values(one).join(" · ")).join(", ");
    case "attributes":
      return Object.entries(value as Record<string, unknown>).map(([key, one]) => `${key}: ${String(one)}`).join(", ");
    case "document":
      return JSON.stringify(value);
    default:
      return String(value);
  }
}

/** What a field holds in an object as it is read: of a reference the object with its name. */
export function valueIn(field: Field, object: AnyObject): unknown {
  return field.kind === "reference" ? (object[field.reads_as] ?? object[field.name]) : object[field.name];
}

export function isNamed(value: unknown): value is Named {
  return typeof value === "object" && value !== null && "id" in value && "name" in value;
}

export function isEmpty(value: unknown): boolean {
  if (value === null || value === undefined || value === "") return true;
  if (Array.isArray(value)) return value.length === 0;
  return typeof value === "object" && Object.keys(value).length === 0;
}

export function isSame(one: unknown, other: unknown): boolean {
  return JSON.stringify(one ?? null) === JSON.stringify(other ?? null);
}

const GOOD = ["active", "running", "healthy", "available", "in_use", "completed"];
const WARNING = ["maintenance", "degraded", "paused", "restarting", "repair", "unknown"];
const DANGER = ["offline", "unhealthy", "failed", "error", "lost"];

/** The tone of a state; words that are not known have none. */
export function toneOf(value: unknown): "good" | "warning" | "danger" | "" {
  const word = String(value);
  if (GOOD.includes(word)) return "good";
  if (WARNING.includes(word)) return "warning";
  return DANGER.includes(word) ? "danger" : "";
}
