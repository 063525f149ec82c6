// What one can do with an object that the palette has found, beside opening it.

import { meta, type Resource } from "../api/meta.svelte.js";
import { getObject, send } from "../api/objects.js";
import { session } from "../api/session.svelte.js";
import { dictionary, label } from "../i18n.svelte.js";
import { toasts } from "../parts/toasts.svelte.js";
import { nameOfOne } from "../parts/values.js";
import { router } from "../router.svelte.js";

export type Act = { key: string; text: string; run: () => unknown };

const t = dictionary(
  { open: "Open", below: "{what} of it", add: "New {what} below it", records: "What the audit log says of it", done: "{what}: done." },
  { open: "打开", below: "其{what}", add: "在其下新建{what}", records: "审计日志中的记录", done: "{what}：完成。" },
);

/** The acts that the person may do, the object's own among them. */
export async function actsOn(resource: Resource, id: number): Promise<Act[]> {
  const { can = {} } = (await getObject(resource.path, id, { with: ["can"] })) as { can?: Record<string, boolean> };
  const go = (key: string, text: string, address: string): Act => ({ key, text, run: () => router.go(address) });
  const own = resource.actions.flatMap(({ operation, method, path, labels }) => (labels && can[operation] ? [act(operation, label(labels), method, path.replace("{id}", String(id)))] : []));
  const below = resource.children.flatMap(({ resource: name, field }) => {
    const child = meta.resource(name);
    if (!child) return [];
    const list = go(`list ${name}`, t("below", { what: label(child.labels) }), `/${name}?${field}=${id}`);
    return child.may.create && can["change"] ? [list, go(`new ${name}`, t("add", { what: nameOfOne(child) }), `/${name}/new?${field}=${id}`)] : [list];
  });
  const records = session.isAdmin ? [go("records", t("records"), `/audit?resource_type=${resource.name}&resource_id=${id}`)] : [];
  return [go("open", t("open"), `/${resource.name}/${id}`), ...own, ...below, ...records];
}

function act(key: string, text: string, method: string, path: string): Act {
  const run = async (): Promise<void> => {
    try {
      await send(method, path);
      toasts.say(t("done", { what: text }));
    } catch (error) {
      toasts.fail(error);
    }
  };
  return { key, text, run };
}
