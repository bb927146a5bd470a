import { Flags } from '@oclif/core';

import type { Config } from '../lib/config/load.ts';
import type { Consent } from '../lib/replay/run.ts';
import { durationFlag } from './duration-flag.ts';
import type { Line } from './output/text.ts';
import { replayPlanLines } from './views/replay.ts';

/** How an operator agrees to a change of positions. */
export const consentFlags = {
  'pause-role': Flags.boolean({ description: 'ask running consumers of kpipe to step aside, and let them come back' }),
  'pause-within': durationFlag(
    'pause-within',
    1000,
  )({ description: 'how long they have for it (default: 60s)', dependsOn: ['pause-role'] }),
  yes: Flags.boolean({ char: 'y', description: 'do not ask' }),
  confirm: Flags.string({
    helpValue: 'CONTEXT',
    description: 'the name of the protected context, instead of typing it',
  }),
};

export interface ConsentFlags {
  readonly 'pause-role': boolean;
  readonly 'pause-within'?: number | undefined;
  readonly yes: boolean;
  readonly confirm?: string | undefined;
}

/** What the command that asks can do: it alone prints. */
export interface Asking {
  readonly say: (line: Line) => void;
  readonly confirm: (action: string) => Promise<void>;
  readonly signal: AbortSignal;
}

export function consentOf(config: Config, flags: ConsentFlags, { say, confirm, signal }: Asking): Consent {
  return {
    confirm: (plan) => {
      replayPlanLines(plan, config.context).forEach(say);
      const { rereadRecords, skippedRecords } = plan.totals;
      return confirm(
        `set role ${plan.role} to ${plan.to} (${rereadRecords} records again, ${skippedRecords} left out)`,
      );
    },
    confirmWithdrawal: (id) => confirm(`end replay ${id}, which has set no position`),
    pause: flags['pause-role']
      ? { withinMs: flags['pause-within'] ?? 60_000, operator: `pid ${process.pid}`, signal, notice: say }
      : null,
  };
}
