// The marked workbook: that of a large import is made in the background, and asked for until it is there.

import { answer, api } from "../../api/client.js";
import { saveFile } from "../../parts/download.js";
import { toasts } from "../../parts/toasts.svelte.js";
import type { Import } from "./imports.js";
import { t } from "./texts.js";

export async function downloadReport({ id, filename }: Import): Promise<void> {
  for (let isFirst = true; ; isFirst = false) {
    const path = { import_id: id };
    const outcome = await api.GET("/api/imports/{import_id}/report.xlsx", { params: { path }, parseAs: "blob" });
    const file = await answer(Promise.resolve(outcome));
    if (outcome.response.status === 200) return saveFile(`${filename.replace(/\.[^.]*$/, "")}-report.xlsx`, file);
    if (isFirst) toasts.say(t("preparing"));
    const seconds = Number(outcome.response.headers.get("Retry-After")) || 1;
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  }
}
