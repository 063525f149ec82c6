// Requests to our own origin: they say the language, and renew the session where it has run out.

import { i18n } from "../i18n.svelte.js";
import { session } from "./session.svelte.js";

const RENEWAL = "/api/auth/browser/refresh";
let renewal: Promise<boolean> | undefined;

/** `fetch` with the person's language and session. A request that meets an ended session waits for the next one. */
export async function sessionFetch(request: Request): Promise<Response> {
  request.headers.set("Accept-Language", i18n.language);
  for (;;) {
    // A body can be read once: each attempt sends a copy.
    const response = await fetch(request.clone());
    if (response.status !== 401 || !session.account || request.url.includes("/api/auth/browser/")) return response;
    await response.arrayBuffer();
    if (!(await renewed())) await session.resumed();
  }
}

/** Whether the session goes on. Requests of a tab share one renewal, and tabs renew one after the other. */
export async function renewed(): Promise<boolean> {
  renewal ??= (async () => navigator.locks.request("itam.session", renew))();
  try {
    return await renewal;
  } finally {
    renewal = undefined;
  }
}

async function renew(): Promise<boolean> {
  const response = await fetch(RENEWAL, { method: "POST" });
  // A body that nobody reads keeps its connection.
  await response.arrayBuffer();
  return response.ok;
}
