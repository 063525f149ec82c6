// What is said about a failure, in the person's language.

import { ApiError } from "../api/client.js";
import { release } from "../api/release.svelte.js";
import { dictionary } from "../i18n.svelte.js";

const t = dictionary(
  { away: "The server does not answer. Check your connection.", old: "There is a new version of the console, and this page needs to be loaded again.", unknown: "Something went wrong: {message}" },
  { away: "服务器没有响应。请检查网络连接。", old: "控制台有新版本，需要重新加载此页面。", unknown: "出现错误：{message}" },
);

export function messageOf(error: unknown): string {
  if (error instanceof ApiError) return error.message;
  // A request or a script that could not be loaded is a TypeError with a text of the browser.
  if (error instanceof TypeError) return t(release.isOld ? "old" : "away");
  return error instanceof Error ? error.message : t("unknown", { message: String(error) });
}
