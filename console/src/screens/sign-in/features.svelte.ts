// What the installation allows those who are not signed in.

import { api, dataOf } from "../../api/client.js";
import { Loaded } from "../../parts/load.svelte.js";

export const features = new Loaded(() => dataOf(api.GET("/api/meta/features")));
