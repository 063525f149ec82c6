// Short messages that say what was done, with an undo where there is one.

import { wholeMessageOf } from "./errors.js";

type Action = { text: string; run: () => unknown };
type Toast = { id: number; text: string; isError: boolean; action: Action | undefined };

const SHOWN_MS = 6_000;

class Toasts {
  shown: Toast[] = $state.raw([]);
  #last = 0;

  say(text: string, action?: Action): void {
    this.#show({ id: ++this.#last, text, isError: false, action });
  }

  /** An error stays until it is dismissed. */
  fail(error: unknown): void {
    this.#show({ id: ++this.#last, text: wholeMessageOf(error), isError: true, action: undefined });
  }

  dismiss(id: number): void {
    this.shown = this.shown.filter((toast) => toast.id !== id);
  }

  #show(toast: Toast): void {
    this.shown = [...this.shown, toast];
    if (!toast.isError) setTimeout(() => this.dismiss(toast.id), SHOWN_MS);
  }
}

export const toasts = new Toasts();
