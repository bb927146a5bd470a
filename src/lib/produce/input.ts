import { KpipeError } from '../errors.ts';
import type { ProducerKind } from '../shop/types.ts';
import type { ProduceInput } from './run.ts';

/** As typed. */
export interface InputFlags {
  readonly file?: string | undefined;
  readonly key?: string | undefined;
  readonly generate?: ProducerKind | undefined;
  readonly seed?: number | undefined;
  readonly run?: string | undefined;
  readonly broken?: string | undefined;
}

/** What to send, by the flags. @throws KPIPE_USAGE: flags that do not go together */
export function produceInput(topic: string | undefined, flags: InputFlags, stdin: NodeJS.ReadStream): ProduceInput {
  const { file, key, generate, seed, run, broken } = flags;
  const wrong = (message: string, next: string): never => {
    throw new KpipeError('KPIPE_USAGE', message, { next });
  };
  if (generate !== undefined) {
    if (file !== undefined || key !== undefined) {
      wrong(`--generate does not go with --${file === undefined ? 'key' : 'file'}`, 'leave one of them out');
    }
    if (run !== undefined && !/^[\w.-]{1,40}$/.test(run)) {
      wrong(`--run ${run} is not an id`, 'use at most 40 letters, digits, "_", "." and "-"');
    }
    return {
      kind: 'generate',
      producer: generate,
      ...(topic === undefined ? {} : { topic }),
      ...(seed === undefined ? {} : { seed }),
      ...(run === undefined ? {} : { run }),
      ...(broken === undefined
        ? {}
        : {
            brokenShare: parseShare(broken) ?? wrong(`--broken ${broken} is not a share`, 'write it as 0.5% or 0.005'),
          }),
    };
  }
  for (const [name, value] of Object.entries({ seed, run, broken })) {
    if (value !== undefined) {
      wrong(`--${name} only goes with --generate`, 'leave it out, or add --generate app');
    }
  }
  if (topic === undefined) {
    return wrong('which topic?', 'name one: kpipe produce events --file orders.ndjson');
  }
  const fromStdin = file === undefined || file === '-';
  if (file === undefined && stdin.isTTY) {
    wrong('nothing to send', 'name a file with --file, pipe records in, or say --file - to type them');
  }
  return { kind: 'lines', topic, file: fromStdin ? stdin : file, ...(key === undefined ? {} : { keyField: key }) };
}

/** `0.5%` or `0.005`; undefined when the text is not a share. */
export function parseShare(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)(%)?$/.exec(text);
  const share = match === null ? Number.NaN : Number(match[1]) / (match[2] === undefined ? 1 : 100);
  return share >= 0 && share <= 1 ? share : undefined;
}
