// A value that survives a reload of the tab: what a person has typed or chosen and not yet sent. Signing out forgets it.

export class Kept<Value> {
  #key: string;
  #initial: Value;
  #initialText: string;
  #value: Value = $state.raw() as Value;

  constructor(name: string, initial: Value) {
    this.#key = `itam.kept.${name}`;
    this.#initial = initial;
    this.#initialText = JSON.stringify(initial);
    const stored = sessionStorage.getItem(this.#key);
    this.#value = stored === null ? initial : (JSON.parse(stored) as Value);
  }

  get value(): Value {
    return this.#value;
  }

  set value(value: Value) {
    this.#value = value;
    const text = JSON.stringify(value);
    // What nobody has changed does not outlive another beginning, such as a profile that an administrator corrects.
    if (text === this.#initialText) sessionStorage.removeItem(this.#key);
    else sessionStorage.setItem(this.#key, text);
  }

  forget(): void {
    this.#value = this.#initial;
    sessionStorage.removeItem(this.#key);
  }
}
