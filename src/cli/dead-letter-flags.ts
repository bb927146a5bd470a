import { Flags } from '@oclif/core';

/** Which dead letters a command of `kpipe dlq` means. */
export const selectionFlags = {
  where: Flags.string({
    helpValue: 'EXPR',
    description: `only those for which this holds, such as 'partition == 3 && data.orderId == "o-1"' (topic, partition, offset: where they failed)`,
  }),
  reason: Flags.string({
    multiple: true,
    multipleNonGreedy: true,
    helpValue: 'CODE',
    description: 'only this reason, such as projection_type; repeat it for more',
  }),
  since: Flags.string({ helpValue: 'TIME', description: 'only those written since then: 2h, 2026-01-31T12:00Z' }),
  until: Flags.string({ helpValue: 'TIME', description: 'only those written before then' }),
} as const;

export const consentFlags = {
  'dry-run': Flags.boolean({ description: 'only say what would be done' }),
  yes: Flags.boolean({ char: 'y', description: 'do not ask' }),
  confirm: Flags.string({
    helpValue: 'CONTEXT',
    description: 'the name of the protected context, instead of typing it',
  }),
} as const;
