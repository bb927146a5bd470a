import type { CommandLine } from './role-processes.ts';

export interface DemoOptions {
  readonly count: number;
  readonly ratePerSec: number;
  readonly seed: number;
  readonly brokenShare: number;
  readonly commandLine: CommandLine;
  /** Where the roles' output goes. */
  readonly logDirectory: string;
  readonly signal: AbortSignal;
  readonly report: (progress: DemoProgress) => void;
}

export type DemoStep = 'topics' | 'migrate' | 'roles' | 'publish' | 'arrive' | 'check';

export type DemoProgress =
  | { readonly kind: 'began'; readonly step: DemoStep }
  | { readonly kind: 'moved'; readonly step: DemoStep; readonly done: number; readonly total: number }
  | { readonly kind: 'done'; readonly step: DemoStep; readonly detail: string; readonly elapsedMs: number };

export interface RunningStep {
  moved(done: number, total: number): void;
  done(detail: string): void;
}

export function begin({ report }: Pick<DemoOptions, 'report'>, step: DemoStep): RunningStep {
  const startedAt = Date.now();
  report({ kind: 'began', step });
  return {
    moved: (done, total) => report({ kind: 'moved', step, done, total }),
    done: (detail) => report({ kind: 'done', step, detail, elapsedMs: Date.now() - startedAt }),
  };
}
