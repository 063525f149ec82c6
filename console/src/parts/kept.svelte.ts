// A value that survives a reload of the tab: what a person has typed or chosen and not yet sent. Signing out forgets it.

export class Kept<Value> {
  #key: string;
  #initial: Value;
  #value: Value = $state.raw() as Value;

  constructor(name: string, initial: Value) {
    this.#key = `itam.kept.${name}`;
    this.#initial = initial;
    const stored = sessionStorage.getItem(this.#key);
    this.#value = stored === null ? initial : (JSON.parse(stored) as Value);
  }

  get value(): Value {
    return this.#value;
  }

  set value(value: Value) {
    this.#value = value;
    sessionStorage.setItem(this.#key, JSON.stringify(value));
  }

  forget(): void {
    this.#value = this.#initial;
    sessionStorage.removeItem(this.#key);
  }
}
