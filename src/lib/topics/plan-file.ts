import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';

import { z } from 'zod';

import { KpipeError, messageOf } from '../errors.ts';
import { topicPlanSchema, type TopicPlan } from './change.ts';

/** Keeps a plan to be applied later. @throws KPIPE_INPUT_INVALID when the file cannot be written */
export async function savePlan(plan: TopicPlan, file: string): Promise<void> {
  try {
    await writeFile(file, `${JSON.stringify(plan, null, 2)}\n`);
  } catch (error) {
    throw new KpipeError('KPIPE_INPUT_INVALID', `the plan cannot be written: ${messageOf(error)}`, {
      next: 'name a file in a directory that exists and can be written to',
      cause: error,
    });
  }
}

/** @throws KPIPE_INPUT_INVALID when the file is not a plan of `kpipe topics plan` */
export function readPlan(file: string): TopicPlan {
  const next = 'write one with `kpipe topics plan --out FILE`';
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new KpipeError('KPIPE_INPUT_INVALID', `the plan ${file} cannot be read: ${messageOf(error)}`, {
      next,
      cause: error,
    });
  }
  const parsed = topicPlanSchema.safeParse(json);
  if (!parsed.success) {
    throw new KpipeError(
      'KPIPE_INPUT_INVALID',
      `${file} is not a plan: ${z.prettifyError(parsed.error).split('\n')[0] ?? ''}`,
      {
        next,
        cause: parsed.error,
      },
    );
  }
  return parsed.data;
}
