// The objects that the person opened last. Only their numbers are kept in the browser: whoever uses it next reads no
// names, and the names of now are asked for when they are shown.

import { meta, type Resource } from "../api/meta.svelte.js";
import { listObjects } from "../api/objects.js";
import { session } from "../api/session.svelte.js";
import { nameOf } from "../parts/values.js";

type Seen = { type: string; id: number };
export type Recent = Seen & { name: string; resource: Resource };

const MOST = 8;

function key(): string {
  return `itam.recent.${session.account?.id ?? 0}`;
}

function seen(): Seen[] {
  return JSON.parse(localStorage.getItem(key()) ?? "[]") as Seen[];
}

/** The object was opened. */
export function remember(type: string, id: number): void {
  const others = seen().filter((one) => one.type !== type || one.id !== id);
  localStorage.setItem(key(), JSON.stringify([{ type, id }, ...others].slice(0, MOST)));
}

/** The objects that were opened last, without those that are gone or that the person may no longer see. */
export async function recentObjects(): Promise<Recent[]> {
  const objects = seen();
  const types = [...new Set(objects.map(({ type }) => type))];
  const found = new Map<string, Recent>();
  await Promise.all(
    types.map(async (type) => {
      const resource = meta.resource(type);
      if (!resource) return;
      const ids = objects.filter((one) => one.type === type).map(({ id }) => id);
      const { data } = await listObjects(resource.path, { id__in: ids, total: "none" });
      for (const object of data) found.set(`${type} ${object.id}`, { type, id: object.id, name: nameOf(resource, object), resource });
    }),
  );
  return objects.flatMap(({ type, id }) => found.get(`${type} ${id}`) ?? []);
}
