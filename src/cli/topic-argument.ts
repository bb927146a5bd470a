import { Args } from '@oclif/core';

import { topicNamePattern, topicNameRule } from '../lib/config/schema.ts';
import { KpipeError } from '../lib/errors.ts';

/** The name of a topic as an argument: what no topic can be called is refused before anybody is asked for it. */
export const topicArgument = Args.custom({
  parse: (text) =>
    topicNamePattern.test(text)
      ? Promise.resolve(text)
      : Promise.reject(
          new KpipeError('KPIPE_USAGE', `"${text}" is no topic's name`, { next: `write ${topicNameRule}` }),
        ),
});
