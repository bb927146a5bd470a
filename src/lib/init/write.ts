import { existsSync, writeFileSync } from 'node:fs';

import { parseConfig } from '../config/load.ts';
import { codeOf, KpipeError, messageOf } from '../errors.ts';

export interface WriteOptions {
  /** Replace a file that is there. */
  readonly force: boolean;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** `host:port,host:port`. @throws KPIPE_USAGE naming the one that is not */
export function brokerList(text: string): readonly string[] {
  const brokers = text.split(',').map((broker) => broker.trim());
  const wrong = brokers.find((broker) => !/^(?:\[[0-9a-fA-F:]+\]|[^\s:/@]+):\d{1,5}$/.test(broker));
  if (wrong !== undefined) {
    throw new KpipeError('KPIPE_USAGE', `--brokers: ${wrong === '' ? 'empty' : wrong} is not host:port`, {
      next: 'write --brokers kafka1:9092,kafka2:9092',
    });
  }
  return brokers;
}

/** @throws KPIPE_REFUSED when there is a file already */
export function refuseExisting(file: string): void {
  if (existsSync(file)) {
    throw new KpipeError('KPIPE_REFUSED', `${file} exists: nothing was written`, {
      next: 'name another file with --config, or replace it with --force',
    });
  }
}

/**
 * Writes a kpipe.yaml that the schema accepts.
 * @throws KPIPE_REFUSED when the file exists, KPIPE_INPUT_INVALID when it cannot be written
 */
export function writeConfig(file: string, text: string, options: WriteOptions): void {
  parseConfig(text, file, options.env);
  try {
    writeFileSync(file, text, { flag: options.force ? 'w' : 'wx' });
  } catch (error) {
    if (codeOf(error) === 'EEXIST') {
      refuseExisting(file);
    }
    throw new KpipeError('KPIPE_INPUT_INVALID', `the configuration cannot be written: ${messageOf(error)}`, {
      next: 'name a file in a directory that exists and can be written to',
      cause: error,
    });
  }
}
