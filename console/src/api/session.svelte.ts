// Who is signed in. The session is a cookie that scripts cannot read; only its owner's account is known here.

import { i18n } from "../i18n.svelte.js";
import type { Schemas } from "./client.js";

type Account = Schemas["Account"];
type Resume = () => void;

const OWNER = "itam.owner";

class Session {
  /** The account; undefined until it is known, null for nobody. */
  account: Account | null | undefined = $state.raw(undefined);
  /** Whether the session has ended below a page that the person was using: they sign in over it. */
  expired = $state(false);
  #waiting: Resume[] = [];

  get isAdmin(): boolean {
    return this.account?.role === "admin";
  }

  begin(account: Account): void {
    // Another person must not go on in the pages of the one before.
    if (this.account && this.account.id !== account.id) return location.assign("/");
    this.#own(account);
    this.account = account;
    this.expired = false;
    i18n.suggest(account.language);
    for (const resume of this.#waiting.splice(0)) resume();
  }

  /** What was typed in this tab, and survives a reload, is for the person who typed it, and for nobody who signs in next. */
  #own({ id }: Account): void {
    const owner = sessionStorage.getItem(OWNER);
    if (owner !== null && owner !== String(id)) sessionStorage.clear();
    sessionStorage.setItem(OWNER, String(id));
  }

  /** Wait until the person has signed in again. */
  async resumed(): Promise<void> {
    this.expired = true;
    await new Promise<void>((resume) => this.#waiting.push(resume));
  }

  end(): void {
    this.account = null;
    this.expired = false;
  }
}

export const session = new Session();
