import type { Assignment } from '../ports.ts';

/** Tells the group where a role stands, for lag tools. The truth is in the sink, so a failure costs nothing. */
export class GroupMirror {
  readonly #told = new Map<number, bigint>();

  forget(partition: number): void {
    this.#told.delete(partition);
  }

  /** Commits what the group does not know yet; what fails is told with the next call. */
  async tell(workers: Iterable<{ readonly assignment: Assignment; readonly writtenPosition: bigint }>): Promise<void> {
    await Promise.allSettled(
      Array.from(workers, async ({ assignment, writtenPosition }) => {
        if (assignment.active && this.#told.get(assignment.partition) !== writtenPosition) {
          await assignment.commit(writtenPosition);
          this.#told.set(assignment.partition, writtenPosition);
        }
      }),
    );
  }
}
