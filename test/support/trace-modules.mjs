// Loaded by NODE_OPTIONS=--import: writes the URL of every module that the process loads to the file in KPIPE_TEST_TRACE.
import { appendFileSync } from 'node:fs';
import { registerHooks } from 'node:module';

registerHooks({
  load(url, context, nextLoad) {
    appendFileSync(process.env.KPIPE_TEST_TRACE, `${url}\n`);
    return nextLoad(url, context);
  },
});
