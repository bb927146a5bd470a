import { KpipeError, messageOf } from '../errors.ts';
import type { WarehouseColumns } from '../config/schema.ts';
import type { Column } from './columns.ts';
import type { TypedColumns } from './typed-columns.ts';

export interface FollowedColumnsParts {
  /** What the role has begun with; the table has these. */
  readonly initial: TypedColumns;
  /** What kpipe.yaml declares now; null: it has not changed since it was asked before. @throws KPIPE_CONFIG_… */
  readonly declared: () => Promise<WarehouseColumns | null>;
  readonly compile: (declared: WarehouseColumns) => TypedColumns;
  /** Why the table cannot take rows with these columns; empty: it can. */
  readonly problems: (columns: readonly Column[]) => Promise<readonly string[]>;
  readonly notice: (text: string) => void;
  readonly nowMs: () => number;
}

/** The least time from one look at kpipe.yaml, and at a table that lacks columns, to the next. */
const lookEveryMs = 5000;

/**
 * The declared columns while a role runs. When kpipe.yaml declares others, they are taken as soon as the table can take
 * all of them, which `kpipe warehouse apply` sees to; until then rows are written as before. What cannot be found out
 * changes nothing.
 */
export class FollowedColumns {
  readonly #parts: FollowedColumnsParts;
  #inForce: TypedColumns;
  #wanted: TypedColumns | null = null;
  #lookAtMs: number;
  #looking: Promise<void> | null = null;
  #told = '';

  constructor(parts: FollowedColumnsParts) {
    this.#parts = parts;
    this.#inForce = parts.initial;
    this.#lookAtMs = parts.nowMs();
  }

  /** What the next batch is written with. Never rejects. */
  async current(): Promise<TypedColumns> {
    if (this.#parts.nowMs() >= this.#lookAtMs) {
      this.#looking ??= this.#look().finally(() => {
        this.#looking = null;
        this.#lookAtMs = this.#parts.nowMs() + lookEveryMs;
      });
      await this.#looking;
    }
    return this.#inForce;
  }

  async #look(): Promise<void> {
    try {
      const declared = await this.#parts.declared();
      if (declared !== null) {
        // In the order of the file, which decides between two patterns that match.
        const isSame = JSON.stringify(declared) === JSON.stringify(this.#inForce.declared);
        this.#wanted = isSame ? null : this.#parts.compile(declared);
      }
      if (this.#wanted !== null) {
        await this.#take(this.#wanted);
      }
    } catch (error) {
      if (error instanceof KpipeError && error.code.startsWith('KPIPE_CONFIG_')) {
        this.#tell(`the columns stay as they are: ${messageOf(error)}`);
      }
    }
  }

  async #take(wanted: TypedColumns): Promise<void> {
    const problems = await this.#parts.problems(wanted.columns);
    if (problems.length > 0) {
      this.#tell(
        `kpipe.yaml declares columns that the table cannot take yet (${problems.join('; ')}): rows are written as before; \`kpipe warehouse apply\` adds what is missing`,
      );
      return;
    }
    this.#inForce = wanted;
    this.#wanted = null;
    this.#tell(`declared columns in use: ${wanted.columns.map(({ name }) => name).join(', ') || 'none'}`);
  }

  /** Once, however often it is found. */
  #tell(text: string): void {
    if (text !== this.#told) {
      this.#told = text;
      this.#parts.notice(text);
    }
  }
}
