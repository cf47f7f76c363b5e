/** Something that components look at together: it begins with the first of them and ends after the last. */
export abstract class Store<Snapshot extends object> {
  #snapshot: Snapshot;
  readonly #users = new Set<{ changed: () => void }>();
  #running = false;

  constructor(first: Snapshot) {
    this.#snapshot = first;
  }

  get snapshot(): Snapshot {
    return this.#snapshot;
  }

  /** One more component looks at it; the answer lets go of it again. */
  readonly use = (changed: () => void): (() => void) => {
    const user = { changed };
    this.#users.add(user);
    if (!this.#running) {
      this.#running = true;
      this.begin();
    }
    return () => {
      this.#users.delete(user);
      // React takes components down and puts others up in one go, StrictMode the same ones twice: what the next one
      // needs is not given up in between.
      if (this.#users.size === 0) setTimeout(() => this.#rest(), 0);
    };
  };

  protected set(change: Partial<Snapshot>): void {
    this.#snapshot = { ...this.#snapshot, ...change };
    for (const { changed } of [...this.#users]) changed();
  }

  protected abstract begin(): void;
  protected abstract end(): void;

  #rest(): void {
    if (this.#users.size > 0 || !this.#running) return;
    this.#running = false;
    this.end();
  }
}
