// What the navigation shows besides the resources, which come from `GET /api/meta`.

import type { Labels } from "../i18n.svelte.js";

type Link = { path: string; labels: Labels; admin?: boolean };

export const SECTIONS: readonly { title: Labels; links: readonly Link[] }[] = [];
