// What changes while a screen is open: one poller of the change feed for the tab, which rests while the tab is hidden.

import { i18n } from "../i18n.svelte.js";
import type { Schemas } from "./client.js";
import { renewed } from "./http.js";

export type Change = Schemas["Event"];
type Feed = Schemas["Feed"];
type Listener = (changes: Changes) => unknown;

/** A change is in the feed once it is sealed, which happens every five seconds. */
const POLL_MS = 5_000;
const LONGEST_MS = 120_000;
/** Answers, each of 500 changes, after which screens are read anew instead. */
const MOST_ANSWERS = 10;

/** What one round of polling brought; where `isGap`, more has changed than it lists. */
export class Changes {
  constructor(
    readonly list: readonly Change[],
    readonly isGap: boolean,
  ) {}

  touch(types: readonly string[]): boolean {
    return this.isGap || this.list.some(({ type }) => types.includes(type));
  }

  touchObject(type: string, id: number): boolean {
    return this.isGap || this.list.some((change) => change.type === type && change.id === id);
  }

  /** Whether the last that happened to an object is its deletion. */
  isDeletion(type: string, id: number): boolean {
    return this.list.findLast((change) => change.type === type && change.id === id)?.action === "delete";
  }

  idsOf(type: string): Set<number> {
    return new Set(this.list.filter((change) => change.type === type).map(({ id }) => id));
  }

  /** Objects that are there and were not before. */
  createdOf(type: string): Set<number> {
    const isCreation = ({ version, action }: Change): boolean => version === 1 || action === "restore";
    return new Set(this.list.filter((change) => change.type === type && isCreation(change)).map(({ id }) => id));
  }
}

class ChangeFeed {
  #listeners = new Set<Listener>();
  #polled = new Set<() => unknown>();
  #cursor: string | undefined;
  #tag = "";
  /** What was read before a round failed. */
  #unread: Change[] = [];
  #failures = 0;
  #isOn = false;
  #isBusy = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor() {
    document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(this.#timer) : this.#wait(0)));
  }

  /** Begin, or go on after the session was renewed. Changes from now on are reported. */
  begin(): void {
    if (this.#isOn) return;
    this.#isOn = true;
    this.#wait(0);
  }

  /** Call `listener` with what has changed; returns the function that ends it, for an effect. */
  follow(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Call `run` after each round, for what the feed does not report. */
  afterEach(run: () => unknown): () => void {
    this.#polled.add(run);
    return () => this.#polled.delete(run);
  }

  #wait(milliseconds: number): void {
    clearTimeout(this.#timer);
    if (this.#isOn && !document.hidden) this.#timer = setTimeout(() => void this.#poll(), milliseconds);
  }

  async #poll(): Promise<void> {
    if (this.#isBusy) return;
    this.#isBusy = true;
    try {
      const changes = await this.#read();
      this.#failures = 0;
      if (changes.list.length || changes.isGap) for (const listener of this.#listeners) listener(changes);
      for (const run of this.#polled) run();
    } catch {
      // The screen says what its own requests meet; the poller only asks less often.
      this.#failures += 1;
    } finally {
      this.#isBusy = false;
      this.#wait(Math.min(POLL_MS * 2 ** this.#failures, LONGEST_MS));
    }
  }

  async #read(): Promise<Changes> {
    for (let answers = 0; this.#isOn; answers += 1) {
      const isGap = answers === MOST_ANSWERS;
      if (isGap) [this.#cursor, this.#tag] = [undefined, ""];
      const isNew = this.#cursor === undefined;
      const response = await this.#ask();
      if (response.status === 304) break;
      if (response.status === 401) {
        // The session has ended: a request of the person asks them to sign in again, and begins anew.
        if (!(await renewed())) this.#isOn = false;
      } else if (response.status === 400 && !isNew) {
        // A cursor of another installation.
        answers = MOST_ANSWERS - 1;
      } else if (!response.ok) {
        throw new Error(`HTTP ${response.status}`);
      } else {
        const { events, cursor, more } = ((await response.json()) as { data: Feed }).data;
        [this.#cursor, this.#tag] = [cursor, response.headers.get("ETag") ?? ""];
        this.#unread.push(...events);
        if (isGap) return new Changes(this.#unread.splice(0), true);
        if (!more) break;
      }
    }
    return new Changes(this.#unread.splice(0), false);
  }

  async #ask(): Promise<Response> {
    const query = this.#cursor === undefined ? "" : `?after=${encodeURIComponent(this.#cursor)}`;
    const headers = { "Accept-Language": i18n.language, ...(this.#tag ? { "If-None-Match": this.#tag } : {}) };
    return fetch(`/api/events${query}`, { headers });
  }
}

export const feed = new ChangeFeed();
