// An import and its plan: polled while a job runs, corrected by changes of its settings.

import { answer, api, ApiError, dataOf } from "../../api/client.js";
import { isRunning, type Correction, type Import } from "./imports.js";

type Tree = { [key: string]: unknown };

export class Plan {
  /** The import as it is now. */
  current: Import | undefined = $state.raw();
  /** The import as no job was working on it last: its plan stays on the screen while the next one is made. */
  settled: Import | undefined = $state.raw();
  failure: unknown = $state.raw();
  /** The change that met a newer revision, made by somebody else. */
  overtaken: Correction | undefined = $state.raw();
  #waiting: Correction | undefined;
  #senders: (() => void)[] = [];
  #isSending = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(readonly id: number) {}

  get isBusy(): boolean {
    return this.current !== undefined && isRunning(this.current);
  }

  get #path() {
    return { params: { path: { import_id: this.id } } };
  }

  /** Load the import until no job works on it; returns what ends that, once no change is waiting to be sent. */
  watch = (): (() => void) => {
    void this.refresh();
    return () => {
      if (!this.#waiting) clearTimeout(this.#timer);
    };
  };

  refresh = async (): Promise<void> => {
    clearTimeout(this.#timer);
    try {
      const outcome = await api.GET("/api/imports/{import_id}", this.#path);
      this.#show((await answer(Promise.resolve(outcome))).data);
      // The server says when to ask again as long as a job works on it.
      const seconds = Number(outcome.response.headers.get("Retry-After"));
      clearTimeout(this.#timer);
      if (seconds > 0) this.#timer = setTimeout(this.refresh, seconds * 1000);
      else await this.#send();
    } catch (error) {
      this.failure = error;
    }
  };

  /**
   * Change how the file is understood; returns when the change is sent, or refused. Changes that are made while a plan
   * is made go together when that is there.
   */
  correct = async (change: Correction): Promise<void> => {
    this.#waiting = merged(this.#waiting ?? {}, change);
    const sent = new Promise<void>((resolve) => this.#senders.push(resolve));
    await this.#send();
    await sent;
  };

  /** Leave a row out, or take it in again. */
  skipRow = async (sheet: string, row: number, isSkipped = true): Promise<void> => {
    const before = this.#waiting?.sheets?.[sheet]?.skip_rows ?? this.current?.settings.sheets?.[sheet]?.skip_rows ?? [];
    const rows = before.filter((one) => one !== row);
    await this.correct({ sheets: { [sheet]: { skip_rows: isSkipped ? [...rows, row] : rows.length ? rows : null } } });
  };

  retry = async (): Promise<void> => {
    const change = this.overtaken;
    this.overtaken = undefined;
    if (change) await this.correct(change);
  };

  apply = async (onError: "abort" | "skip"): Promise<void> => {
    await this.#act((revision) =>
      dataOf(api.POST("/api/imports/{import_id}/apply", { ...this.#path, body: { revision, on_error: onError } })),
    );
  };

  cancel = async (): Promise<void> => {
    await this.#act(() => dataOf(api.POST("/api/imports/{import_id}/cancel", this.#path)));
  };

  async #send(): Promise<void> {
    if (!this.#waiting || this.#isSending || this.isBusy) return;
    const change = this.#waiting;
    const senders = this.#senders.splice(0);
    this.#waiting = undefined;
    this.#isSending = true;
    await this.#act((revision) => {
      const body = { ...change, revision, apply: false };
      return dataOf(api.PATCH("/api/imports/{import_id}", { ...this.#path, body }));
    }, change);
    this.#isSending = false;
    senders.forEach((resolve) => resolve());
    await this.#send();
  }

  async #act(request: (revision: number) => Promise<Import>, change?: Correction): Promise<void> {
    if (!this.current) return;
    this.failure = undefined;
    try {
      this.#show(await request(this.current.revision));
      clearTimeout(this.#timer);
      if (this.isBusy) this.#timer = setTimeout(this.refresh, 1000);
    } catch (error) {
      if (error instanceof ApiError && error.status === 412) {
        this.overtaken = change ?? {};
        await this.refresh();
      } else this.failure = error;
    }
  }

  #show(import_: Import): void {
    this.current = import_;
    if (!isRunning(import_)) this.settled = import_;
  }
}

/** Two changes as one: objects merge, all else replaces. */
function merged(before: Correction, after: Correction): Correction {
  return mergedTrees(before, after);
}

function mergedTrees(before: Tree, after: Tree): Tree {
  const all: Tree = { ...before };
  for (const [name, value] of Object.entries(after)) {
    const earlier = all[name];
    all[name] = isTree(value) && isTree(earlier) ? mergedTrees(earlier, value) : value;
  }
  return all;
}

function isTree(value: unknown): value is Tree {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
