// A value that is loaded, kept while it is loaded again, and its failure.

export class Loaded<Value> {
  value: Value | undefined = $state.raw();
  failure: unknown = $state.raw();
  isBusy = $state(false);
  #load: () => Promise<Value>;
  #latest = 0;

  constructor(load: () => Promise<Value>) {
    this.#load = load;
  }

  /** Load it again. An answer that a later one has overtaken is dropped. */
  refresh = async (): Promise<void> => {
    const mine = ++this.#latest;
    this.isBusy = true;
    try {
      const value = await this.#load();
      if (mine === this.#latest) [this.value, this.failure] = [value, undefined];
    } catch (error) {
      if (mine === this.#latest) this.failure = error;
    } finally {
      if (mine === this.#latest) this.isBusy = false;
    }
  };
}
