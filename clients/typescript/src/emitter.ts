/** Events by name. A listener that throws is reported like any uncaught error and disturbs nobody else. */
export class Emitter<Events extends object> {
  readonly #listeners = new Map<keyof Events, Set<(event: any) => unknown>>();

  /** Adds a listener; the answer takes it away again. */
  on<Name extends keyof Events>(name: Name, listener: (event: Events[Name]) => unknown): () => void {
    const all = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, all.add(listener));
    return () => void all.delete(listener);
  }

  /** Tells all listeners; says whether there was one. */
  emit<Name extends keyof Events>(name: Name, event: Events[Name]): boolean {
    const all = [...(this.#listeners.get(name) ?? [])];
    for (const listener of all) {
      try {
        listener(event);
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
      }
    }
    return all.length > 0;
  }
}
