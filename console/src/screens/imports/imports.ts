// The words of an import as people read them: fields, values, messages.

import type { Schemas } from "../../api/client.js";
import { meta, type Field } from "../../api/meta.svelte.js";
import { label } from "../../i18n.svelte.js";
import { textOf } from "../../parts/values.js";

export type Import = Schemas["Import"];
export type Sheet = Schemas["Sheet"];
export type Column = Schemas["SheetColumn"];
export type Group = Schemas["MessageGroup"];
export type Row = Schemas["Row"];
export type Message = Schemas["RowMessage"];
export type Correction = Schemas["Correction"];
export type SheetSettings = Schemas["SheetSettings"];
export type DateOrder = Schemas["DateOrder"];

export const DATE_ORDERS: readonly DateOrder[] = ["dmy", "mdy", "ymd"];
export const ENCODINGS = "utf-8 utf-16 gb18030 cp950 cp932 euc_jp cp949 cp1250 cp1251 cp1252 cp1253 cp1254 cp1255 cp1256 cp1257 cp1258 cp874 mac-roman koi8-r cp866 iso8859-2".split(" ");

const RUNNING: readonly string[] = ["queued", "validating", "applying", "reverting"];
const ATTRIBUTE = "attributes.";

export function isRunning({ status }: Import): boolean {
  return RUNNING.includes(status);
}

/** Whether the sheet is one of the file: objects that rows miss are planned on sheets that the file does not have. */
export function isInFile({ sheet, row_count }: Sheet): boolean {
  return !(sheet.startsWith("+ ") && row_count === 0);
}

export type Counts = Record<"create" | "update" | "unchanged" | "error" | "warnings", number>;

export function countsOf({ sheets }: Import): Counts {
  const sum = (name: keyof Counts): number => sheets.reduce((total, sheet) => total + sheet[name], 0);
  return { create: sum("create"), update: sum("update"), unchanged: sum("unchanged"), error: sum("error"), warnings: sum("warnings") };
}

export function resourceTitle(name: string): string {
  const resource = meta.resource(name);
  return resource ? label(resource.labels) : name;
}

export function fieldOf(resource: string | null, name: string | null): Field | undefined {
  return meta.resource(resource ?? "")?.fields.find((field) => field.name === name || field.reads_as === name);
}

/** What people call a field or `attributes.<name>`. */
export function targetTitle(resource: string | null, target: string): string {
  const field = fieldOf(resource, target);
  return field ? label(field.labels) : target.replace(ATTRIBUTE, "");
}

/** What a column fills, as the settings name it. */
export function targetOf({ use, field, attribute }: Column): string {
  if (use === "ignored") return "ignore";
  return field ?? (attribute === null ? use : ATTRIBUTE + attribute);
}

/** The attribute that would keep a column: a name begins with a letter or a digit. */
export function attributeFor({ title, column, attribute }: Column): string {
  const name = title.replace(/[^\p{L}\p{N}_ .()%+#/-]/gu, " ").replace(/^[^\p{L}\p{N}]+/u, "").trim();
  return ATTRIBUTE + (attribute ?? (name.slice(0, 64) || column || "column"));
}

/** A planned value; a reference has the name of its object, which may be one that the file creates. */
export function shown(resource: string, name: string, value: unknown): string {
  const field = fieldOf(resource, name);
  if (field?.kind === "reference" && hasName(value)) return value.name;
  // A suggestion is the name alone.
  if (field?.kind === "reference" && typeof value === "string") return value;
  return field ? textOf(field, value) : String(value ?? "—");
}

function hasName(value: unknown): value is { name: string } {
  return typeof value === "object" && value !== null && "name" in value && typeof value.name === "string";
}

export type Change = { name: string; title: string; before: string; after: string };

export function changesOf({ resource, changes }: Row): Change[] {
  return Object.entries(changes).map(([name, change]) => {
    const { old, new: after } = change as { old: unknown; new: unknown };
    return { name, title: targetTitle(resource, name), before: shown(resource, name, old), after: shown(resource, name, after) };
  });
}

/** What takes a suggestion of a cell: its text means the suggested value from now on; undefined where none can. */
export function suggested(row: Row, { field, value, suggestion }: Message): Correction | undefined {
  if (field === null || value === null || value === undefined || suggestion === null) return undefined;
  return { sheets: { [row.sheet]: { values: { [field]: { [String(value)]: suggestion } } } } };
}

type SheetWarning = { message: string; cells: string[]; column: string | undefined; suggestion: string | undefined };

/** A warning or an error of a whole sheet, of which the API promises `rule` and `message` alone. */
export function sheetWarning(warning: Record<string, unknown>): SheetWarning {
  const text = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined);
  const cells = Array.isArray(warning.cells) ? warning.cells.map(String) : [];
  return { message: text(warning.message) ?? "", cells, column: text(warning.column), suggestion: text(warning.suggestion) };
}

/** Whether a resource needs no more than a name, so that objects that rows miss can be created with it. */
export function isCreatable(name: string): boolean {
  const resource = meta.resource(name);
  const required = resource?.fields.filter((field) => field.required && !field.read_only) ?? [];
  return !!resource?.may.create && required.length === 1 && required[0]?.kind === "text";
}

type Candidate = { encoding: string; sample: string };

/** A line of the file as each encoding reads it, where the encoding is not sure. */
export function candidatesOf({ problem }: Import): Candidate[] {
  const listed: unknown = problem?.candidates;
  if (!Array.isArray(listed)) return [];
  return listed.filter((one): one is Candidate => typeof one?.encoding === "string" && typeof one.sample === "string");
}
