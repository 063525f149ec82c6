// What is said about a failure, in the person's language.

import { ApiError } from "../api/client.js";
import { meta, type Resource } from "../api/meta.svelte.js";
import { release } from "../api/release.svelte.js";
import { dictionary, label } from "../i18n.svelte.js";
import { OTHER_TITLES } from "./titles.js";
import { unitOf } from "./values.js";

const t = dictionary(
  { away: "The server does not answer. Check your connection.", old: "There is a new version of the console, and this page needs to be loaded again.", unknown: "Something went wrong: {message}", of: "{title}: {text}" },
  { away: "服务器没有响应。请检查网络连接。", old: "控制台有新版本，需要重新加载此页面。", unknown: "出现错误：{message}", of: "{title}：{text}" },
);

const OF_BULK = /^(set|filter)\./;

export type Wrong = { title: string; text: string };

/** What a refusal says of fields, by their titles; without those that stand beside their inputs. */
export function wrongFields(error: unknown, resource?: Resource, beside: (name: string) => boolean = () => false): Wrong[] {
  const errors = error instanceof ApiError ? (error.details.errors ?? {}) : {};
  return Object.entries(errors)
    .filter(([name]) => !beside(name))
    .map(([name, messages]) => ({ title: titleOf(name, resource), text: messages.join(" ") }));
}

/** What people call a field of a request: of `port_mappings.0.host_port`: Port mappings 1 Host port. */
function titleOf(path: string, resource?: Resource): string {
  const [name = "", ...rest] = path.replace(OF_BULK, "").split(".");
  const field = [resource, ...meta.resources].flatMap((one) => one?.fields ?? []).find((one) => one.name === name || one.reads_as === name);
  const labels = resource && field ? field.labels : (OTHER_TITLES[name] ?? field?.labels);
  const unit = field?.unit && labels === field.labels ? ` (${unitOf(field.unit)})` : "";
  const below = rest.map((part) => {
    const member = field?.members?.find((one) => one.name === part);
    if (member) return label(member.labels);
    return /^\d+$/.test(part) ? String(Number(part) + 1) : part;
  });
  return [labels ? label(labels) + unit : name, ...below].join(" ");
}

export function messageOf(error: unknown): string {
  if (error instanceof ApiError) return error.message;
  // A request or a script that could not be loaded is a TypeError with a text of the browser.
  if (error instanceof TypeError) return t(release.isOld ? "old" : "away");
  return error instanceof Error ? error.message : t("unknown", { message: String(error) });
}

/** The same in one text, with what is wrong with which field. */
export function wholeMessageOf(error: unknown, resource?: Resource): string {
  return [messageOf(error), ...wrongFields(error, resource).map(({ title, text }) => t("of", { title, text }))].join(" ");
}
