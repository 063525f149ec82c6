// Files: a one-time link that the browser opens itself, or a text that is here already.

import { api, dataOf } from "../api/client.js";

/** Let the browser download what a GET of the API answers, such as `/api/servers/export?format=csv`. */
export async function downloadFrom(path: string): Promise<void> {
  const { url } = await dataOf(api.POST("/api/downloads", { body: { path } }));
  click(url, "");
}

/** Save a value as a JSON file. */
export function saveJson(name: string, value: unknown): void {
  saveFile(name, new Blob([JSON.stringify(value, null, 2)], { type: "application/json" }));
}

/** Save a file that is loaded already. */
export function saveFile(name: string, file: Blob): void {
  const url = URL.createObjectURL(file);
  click(url, name);
  URL.revokeObjectURL(url);
}

function click(url: string, name: string): void {
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
}
