// Every screen, by its address. A screen is loaded when it is opened.

import type { Component } from "svelte";

export type Params = Record<string, string>;
// Some screens have `params`, others no properties at all: types that Component does not unite.
export type Screen = Component<any>;
type Route = { pattern: string; load: () => Promise<{ default: Screen }> };

/** The first match counts, so that `/imports` is not the list of a resource. */
const ROUTES: readonly Route[] = [
  { pattern: "/", load: () => import("./screens/home/Home.svelte") },
  { pattern: "/estate", load: () => import("./screens/estate/Estate.svelte") },
  { pattern: "/gpu-board", load: () => import("./screens/gpus/Board.svelte") },
  { pattern: "/imports", load: () => import("./screens/imports/Imports.svelte") },
  { pattern: "/imports/:id", load: () => import("./screens/imports/Import.svelte") },
  { pattern: "/audit", load: () => import("./screens/audit/Audit.svelte") },
  { pattern: "/people", load: () => import("./screens/people/People.svelte") },
  { pattern: "/account", load: () => import("./screens/account/Account.svelte") },
  { pattern: "/proof", load: () => import("./screens/proof/Proof.svelte") },
  // Any resource: these come last.
  { pattern: "/:resource", load: () => import("./screens/list/List.svelte") },
  { pattern: "/:resource/new", load: () => import("./screens/form/Create.svelte") },
  { pattern: "/:resource/:id", load: () => import("./screens/object/Object.svelte") },
];

/** Where the link of a mail leads; see app/templates/mail/password_reset.txt. */
export const RESET = "/reset-password";

/** Open to those who are not signed in; of the signed in, only a reset link has a use. */
const DOORS: Readonly<Record<string, Route["load"]>> = {
  [RESET]: () => import("./screens/sign-in/Reset.svelte"),
  "/forgotten-password": () => import("./screens/sign-in/Forgotten.svelte"),
  "/register": () => import("./screens/sign-in/Register.svelte"),
};

/** Load a screen; a script or style that cannot be loaded is a TypeError, as a request is that fails. */
export async function loaded<Loaded>(load: () => Promise<Loaded>): Promise<Loaded> {
  try {
    return await load();
  } catch (error) {
    throw error instanceof TypeError ? error : new TypeError("A screen could not be loaded.", { cause: error });
  }
}

export function doorAt(path: string): Route["load"] | undefined {
  return Object.hasOwn(DOORS, path) ? DOORS[path] : undefined;
}

export function match(path: string): { load: Route["load"]; params: Params } | undefined {
  for (const { pattern, load } of ROUTES) {
    const params = matched(pattern.split("/"), path.split("/"));
    if (params) return { load, params };
  }
  return undefined;
}

function matched(pattern: string[], parts: string[]): Params | undefined {
  if (pattern.length !== parts.length) return undefined;
  const params: Params = {};
  for (const [index, name] of pattern.entries()) {
    const part = parts[index] ?? "";
    if (name.startsWith(":") && part) params[name.slice(1)] = decodeURIComponent(part);
    else if (name !== part) return undefined;
  }
  return params;
}
