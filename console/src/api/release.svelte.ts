// Whether the server has another version of the console than this tab: the scripts of the tab's own are gone then.

const CHECK_MS = 600_000;
/** The script that this page began with: its name changes with every version. */
const STARTED_WITH = document.querySelector("script[type=module][src]")?.getAttribute("src") ?? "";

class Release {
  isOld = $state(false);

  constructor() {
    const look = (): void => void (document.hidden || this.check());
    document.addEventListener("visibilitychange", look);
    setInterval(look, CHECK_MS);
  }

  /** Compare the page that the server has now with that of this tab. */
  async check(): Promise<void> {
    if (this.isOld) return;
    try {
      const response = await fetch("/", { cache: "no-store" });
      // Never taken back: the answer to an earlier check may arrive after that to a later one.
      if (response.ok && !(await response.text()).includes(STARTED_WITH)) this.isOld = true;
    } catch {
      // The server is away: nothing is known.
    }
  }
}

export const release = new Release();
