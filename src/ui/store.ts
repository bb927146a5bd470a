/** State that reads as it is at once, also between two frames: a slow terminal hands over several keys as one input. */
export class Store<State, Action> {
  readonly #next: (state: State, action: Action) => State;
  readonly #listeners = new Set<() => void>();
  #state: State;

  constructor(next: (state: State, action: Action) => State, first: State) {
    this.#next = next;
    this.#state = first;
  }

  readonly current = (): State => this.#state;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  readonly dispatch = (action: Action): void => {
    this.#state = this.#next(this.#state, action);
    this.#listeners.forEach((listener) => listener());
  };
}
