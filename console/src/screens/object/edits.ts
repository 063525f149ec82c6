// Changes of one object, bound to the version that was read, and what a lost race leaves to decide.

import { ApiError } from "../../api/client.js";
import type { Field, Resource } from "../../api/meta.svelte.js";
import { send, type AnyObject } from "../../api/objects.js";
import { isSame } from "../../parts/values.js";

export type Values = Record<string, unknown>;
/** An edit that has begun: its field, what is typed and what a chosen reference is called, and what was read before. */
export type Edit = { field: string; draft: unknown; name: string; base: AnyObject };
export type Conflict = { base: AnyObject; theirs: AnyObject; mine: Values };

/** Save values; a conflict where somebody else has saved the same fields, or others. */
export async function save(resource: Resource, base: AnyObject, mine: Values, reason?: string): Promise<AnyObject | Conflict> {
  try {
    const body = { body: mine, version: base.version, reason };
    return (await send<{ data: AnyObject }>("PATCH", `${resource.path}/${base.id}`, body)).data;
  } catch (error) {
    const theirs = error instanceof ApiError && error.status === 412 ? (error.details.current as AnyObject | undefined) : undefined;
    if (!theirs) throw error;
    // Where the other change is about other fields, both are kept without a question.
    const isApart = Object.keys(mine).every((name) => isSame(base[name], theirs[name]));
    return isApart ? save(resource, theirs, mine, reason) : { base, theirs, mine };
  }
}

export function isConflict(outcome: AnyObject | Conflict): outcome is Conflict {
  return "theirs" in outcome && "mine" in outcome;
}

/** The fields that the other person or this one has changed, in the order of the form. */
export function disputed({ fields }: Resource, { base, theirs, mine }: Conflict): Field[] {
  return fields.filter(({ name, read_only }) => !read_only && (name in mine || !isSame(base[name], theirs[name])));
}

function keyOf(resource: string, id: number): string {
  return `itam.edit.${resource}.${id}`;
}

/** Keep an edit, so that it survives a reload; undefined forgets it. */
export function keepEdit(resource: string, id: number, edit: Edit | undefined): void {
  if (edit) sessionStorage.setItem(keyOf(resource, id), JSON.stringify(edit));
  else sessionStorage.removeItem(keyOf(resource, id));
}

export function keptEdit(resource: string, id: number): Edit | undefined {
  const kept = sessionStorage.getItem(keyOf(resource, id));
  return kept === null ? undefined : (JSON.parse(kept) as Edit);
}
