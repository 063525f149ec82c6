// Rows that stay where they are on the screen while what they show changes.

import { feed, type Changes } from "../api/changes.js";
import { listObjects, type AnyObject } from "../api/objects.js";

type Query = Record<string, unknown>;
type Source<Row> = {
  path: () => string;
  type: () => string;
  /** The resources whose names the rows show. */
  related: () => readonly string[];
  rows: () => readonly Row[];
  replace: (rows: Row[]) => unknown;
  /** The conditions that a new row must meet. */
  conditions: () => Query;
  /** Read everything again, where too much has changed. */
  reload: () => unknown;
};

/** Ids in one request. */
const CHUNK = 100;

export class LiveRows<Row extends { id: number }> {
  /** How many objects were created since the rows were loaded that belong among them. */
  arrived = $state(0);
  /** Rows whose objects are deleted, or can no longer be seen. */
  gone: ReadonlySet<number> = $state.raw(new Set());
  /** Objects that had arrived when the person asked for them. */
  recent: ReadonlySet<number> = $state.raw(new Set());
  #created = new Set<number>();
  #source: Source<Row>;

  constructor(source: Source<Row>) {
    this.#source = source;
  }

  /** For an effect: keep the rows up to date until the returned function is called. */
  follow = (): (() => void) => feed.follow((changes) => this.#take(changes));

  /** The rows are loaded again, because the person asked for those that had arrived, or for others. */
  begin(isAsked: boolean): void {
    this.recent = isAsked ? this.#created : new Set();
    this.#created = new Set();
    [this.arrived, this.gone] = [0, new Set()];
  }

  async #take(changes: Changes): Promise<void> {
    if (changes.isGap) return void this.#source.reload();
    try {
      await this.#update(changes);
      await this.#count(changes);
    } catch {
      // The rows stay as they are; what the person asks for next says what is wrong.
    }
  }

  async #update(changes: Changes): Promise<void> {
    const { path, type, related, rows, replace } = this.#source;
    const changed = changes.idsOf(type());
    const isRenamed = changes.touch(related());
    const ids = rows().map(({ id }) => id).filter((id) => isRenamed || changed.has(id));
    for (let begin = 0; begin < ids.length; begin += CHUNK) {
      const asked = ids.slice(begin, begin + CHUNK);
      const { data } = await listObjects(path(), { id__in: asked, page_size: CHUNK, total: "none" });
      const found = new Map(data.map((row) => [row.id, row as AnyObject & Row]));
      replace(rows().map((row) => found.get(row.id) ?? row));
      const shown = new Set(rows().map(({ id }) => id));
      const missing = asked.filter((id) => shown.has(id) && !found.has(id));
      this.gone = new Set([...[...this.gone].filter((id) => !found.has(id)), ...missing]);
    }
  }

  async #count(changes: Changes): Promise<void> {
    const { path, type, rows, conditions } = this.#source;
    const created = changes.createdOf(type());
    // A list of chosen objects has no new ones.
    if ("id__in" in conditions()) return;
    if (!created.size && !(this.#created.size && changes.touch([type()]))) return;
    const shown = new Set(rows().map(({ id }) => id));
    this.#created = new Set([...this.#created, ...created].filter((id) => !shown.has(id)).slice(-CHUNK));
    if (!this.#created.size) return void (this.arrived = 0);
    const asked = this.#created;
    const query = { ...conditions(), id__in: [...asked], page_size: 1 };
    const { pagination } = await listObjects(path(), query);
    if (asked === this.#created) this.arrived = pagination.total ?? 0;
  }
}
