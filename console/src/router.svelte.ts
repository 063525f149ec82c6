// The address is the state: path and query can be sent to a colleague, and Back works.

type Changes = Record<string, string | number | null | undefined>;

class Router {
  path = $state(location.pathname);
  /** What follows the path, for the screen that is shown. */
  query = $state.raw(new URLSearchParams(location.search));
  #shownPath = location.pathname;

  constructor() {
    addEventListener("popstate", () => this.#read());
    addEventListener("click", (event) => this.#follow(event));
  }

  /** Go to an address of the console. */
  go(address: string, { replace = false } = {}): void {
    const current = location.pathname + location.search;
    if (address !== current) history[replace ? "replaceState" : "pushState"](null, "", address);
    this.#read();
    if (!replace) scrollTo(0, 0);
  }

  /** Change parameters of the query and keep the others; null removes one. Replaces the entry of the history. */
  set(changes: Changes, { push = false } = {}): void {
    // The screen that asks for it has been left.
    if (this.path !== this.#shownPath) return;
    const query = new URLSearchParams(this.query);
    for (const [name, value] of Object.entries(changes)) {
      if (value === null || value === undefined || value === "") query.delete(name);
      else query.set(name, String(value));
    }
    const address = query.size ? `${this.path}?${query}` : this.path;
    history[push ? "pushState" : "replaceState"](null, "", address);
    this.#read();
  }

  /** The screen of the path is there. Until then, the screen before must not take the query of this one for its own. */
  arrive(): void {
    this.#shownPath = this.path;
    this.query = new URLSearchParams(location.search);
  }

  #read(): void {
    this.path = location.pathname;
    if (this.path === this.#shownPath) this.arrive();
  }

  /** Links of the console change the address without loading the page; a link with modifiers is the browser's. */
  #follow(event: MouseEvent): void {
    if (event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = (event.target as Element).closest?.("a");
    if (!link || link.target || link.hasAttribute("download") || link.origin !== location.origin) return;
    if (link.pathname.startsWith("/api/") || link.hash) return;
    event.preventDefault();
    this.go(link.pathname + link.search);
  }
}

export const router = new Router();
