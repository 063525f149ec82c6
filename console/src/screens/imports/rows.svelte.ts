// The rows of a plan, loaded where they are looked at. A plan does not change under a revision, so that its pages can be
// loaded in any order, and the scroll bar goes anywhere at once.

import { answer, api } from "../../api/client.js";
import type { Schemas } from "../../api/client.js";
import type { Row } from "./imports.js";

export type RowQuery = {
  sheet?: string;
  status?: Schemas["RowAction"];
  rule?: string;
  column?: string;
  has_warnings?: boolean;
};

const PAGE_ROWS = 100;

export class PlanRows {
  total: number | undefined = $state();
  failure: unknown = $state.raw();
  #pages: ReadonlyMap<number, Row[]> = $state.raw(new Map());
  #asked = new Set<number>();
  #query: RowQuery = {};
  #generation = 0;

  constructor(readonly importId: number) {}

  at(index: number): Row | undefined {
    return this.#pages.get(Math.floor(index / PAGE_ROWS))?.[index % PAGE_ROWS];
  }

  /** Ask for other rows, or for those of a new plan. The previous ones stay until the first of the new are there. */
  ask(query: RowQuery): void {
    this.#query = query;
    this.#generation += 1;
    this.#asked = new Set();
    void this.#load(0);
  }

  /** Load what is missing of the rows from `first` up to `end`. */
  need(first: number, end: number): void {
    if (this.total === undefined) return;
    const last = Math.min(end, this.total) - 1;
    for (let page = Math.floor(first / PAGE_ROWS); page * PAGE_ROWS <= last; page += 1) void this.#load(page);
  }

  async #load(page: number): Promise<void> {
    if (this.#asked.has(page)) return;
    const generation = this.#generation;
    const isFirst = this.#asked.size === 0;
    this.#asked.add(page);
    try {
      const query = { ...this.#query, page: page + 1, page_size: PAGE_ROWS };
      const path = { import_id: this.importId };
      const { data, pagination } = await answer(api.GET("/api/imports/{import_id}/rows", { params: { path, query } }));
      if (generation !== this.#generation) return;
      this.#pages = new Map(isFirst ? [] : this.#pages).set(page, data);
      this.total = pagination.total ?? data.length;
      this.failure = undefined;
    } catch (error) {
      if (generation !== this.#generation) return;
      this.#asked.delete(page);
      this.failure = error;
    }
  }
}
