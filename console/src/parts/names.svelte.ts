// What objects are called that records know by their ids only. Asked for when they are shown, several at a time.

import { SvelteMap } from "svelte/reactivity";
import { meta } from "../api/meta.svelte.js";
import { listObjects } from "../api/objects.js";
import { labelField, nameOf } from "./values.js";

const MOST = 100;

const names = new SvelteMap<string, string>();
const asked = new Set<string>();
let waiting: { type: string; id: number }[] = [];

/** The name of an object as it is called now; `#7` until it is known, and of one that is gone or may not be seen. */
export function nameOfObject(type: string, id: number): string {
  const key = `${type} ${id}`;
  if (!asked.has(key) && meta.resource(type)) {
    asked.add(key);
    if (!waiting.length) queueMicrotask(() => void ask());
    waiting.push({ type, id });
  }
  return names.get(key) ?? `#${id}`;
}

async function ask(): Promise<void> {
  const objects = waiting.splice(0);
  for (const type of new Set(objects.map((one) => one.type))) {
    const resource = meta.resource(type);
    const field = resource && labelField(resource);
    if (!resource || !field) continue;
    const ids = objects.filter((one) => one.type === type).map(({ id }) => id);
    for (let begin = 0; begin < ids.length; begin += MOST) {
      const query = { id__in: ids.slice(begin, begin + MOST), fields: ["id", field], page_size: MOST, total: "none" };
      try {
        for (const object of (await listObjects(resource.path, query)).data) names.set(`${type} ${object.id}`, nameOf(resource, object));
      } catch {
        // Their numbers are shown, as those of objects that are gone.
      }
    }
  }
}
