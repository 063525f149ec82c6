// What the platform knows, as `GET /api/meta` describes it: lists, forms and the navigation are made from it.

import type { Schemas } from "./client.js";
import { loadMeta } from "./objects.js";

export type Resource = Schemas["MetaResource"];
export type Field = Schemas["MetaField"];
export type Choice = Schemas["MetaChoice"];

class Meta {
  #described: Schemas["Meta"] | undefined = $state.raw();

  async load(): Promise<void> {
    this.#described = await loadMeta();
  }

  get isLoaded(): boolean {
    return this.#described !== undefined;
  }

  get described(): Schemas["Meta"] {
    if (!this.#described) throw new Error("The description is not loaded yet.");
    return this.#described;
  }

  get resources(): Resource[] {
    return this.#described?.resources ?? [];
  }

  resource(name: string): Resource | undefined {
    return this.resources.find((resource) => resource.name === name);
  }
}

export const meta = new Meta();
