// What the installation allows those who are not signed in.

import { api, dataOf } from "../../api/client.js";
import type { Schemas } from "../../api/client.js";

class Features {
  /** Undefined until they are known. */
  on: Schemas["Features"] | undefined = $state.raw();

  async load(): Promise<void> {
    this.on ??= await dataOf(api.GET("/api/meta/features"));
  }
}

export const features = new Features();
