import { Flags } from '@oclif/core';

import type { ReplayRequest } from '../lib/replay/run.ts';

export const positionOption = {
  helpValue: 'POSITION',
  description: 'earliest, latest, @TIME, -2h, OFFSET, +N or -N (from the present position), file:PATH, group:NAME',
} as const;

/** Where to, and what of the topic: the same for a plan and for what applies it. */
export const replayFlags = {
  to: Flags.string({ ...positionOption, required: true }),
  topic: Flags.string({ multiple: true, multipleNonGreedy: true, helpValue: 'TOPIC', description: "the role's topic" }),
  partition: Flags.integer({
    multiple: true,
    multipleNonGreedy: true,
    min: 0,
    helpValue: 'N',
    description: 'only this partition; repeat it for more',
  }),
  clamp: Flags.boolean({ description: 'take the nearest offset that exists where the one asked for does not' }),
};

export function replayRequest(flags: {
  readonly to: string;
  readonly topic?: readonly string[] | undefined;
  readonly partition?: readonly number[] | undefined;
  readonly clamp: boolean;
}): ReplayRequest {
  return { to: flags.to, topics: flags.topic, partitions: flags.partition, clamp: flags.clamp };
}
