import { Environment, ParseError } from '@marcbachmann/cel-js';

import { KpipeError } from '../errors.ts';
import { compileCondition, WhereFault } from './compile.ts';
import { recordVariables, type Variables, type WhereRecord } from './record-fields.ts';

export type { Variable, Variables, WhereRecord } from './record-fields.ts';

/** The longest expression: it bounds the cost of parsing. */
const maxTextLength = 4096;
const limits = { maxAstNodes: 2000, maxDepth: 64, maxListElements: 1000, maxMapEntries: 0, maxCallArguments: 4 };

/**
 * `--where`: compiles an expression to a predicate over records, for `tail`, `dlq`, `replay copy` and `produce`.
 *
 * ```
 * const matches = compileWhere('type == "order.paid" && data.amountCents > 10000');
 * matches({ topic, partition, ...record });
 * ```
 *
 * The grammar is the Common Expression Language's, parsed by cel-js; what it means is kpipe's (docs/where.md): whatever is
 * missing is null, a comparison of different kinds is false, numbers compare exactly as they are written, and nothing
 * that a record holds can make the predicate throw, look outside of the record or take long. `extra` adds variables.
 * @throws KPIPE_USAGE with the place marked
 */
export function compileWhere(text: string): (record: WhereRecord) => boolean;
export function compileWhere<Subject extends WhereRecord>(
  text: string,
  extra: Variables<Subject>,
): (record: Subject) => boolean;
export function compileWhere<Subject extends WhereRecord>(
  text: string,
  extra: Variables<Subject> = {},
): (record: Subject) => boolean {
  if (text.length > maxTextLength) {
    throw new KpipeError('KPIPE_USAGE', `--where has ${text.length} characters, at most ${maxTextLength} are allowed`);
  }
  try {
    const { ast } = new Environment({ limits, homogeneousAggregateLiterals: false }).parse(text);
    return compileCondition<Subject>(ast, { ...recordVariables(), ...extra });
  } catch (error) {
    if (error instanceof WhereFault) {
      throw marked(text, error.message, error.at, error);
    }
    if (error instanceof ParseError) {
      const at = error.node?.start ?? text.length;
      throw marked(text, hintAt(text, at) ?? lowerFirst(summaryOf(error)), at, error);
    }
    throw error;
  }
}

/** The message, the line of the expression and a caret under the column. */
function marked(text: string, message: string, at: number, cause: Error): KpipeError {
  const lineStart = text.lastIndexOf('\n', at - 1) + 1;
  const [line = ''] = text.slice(lineStart).split('\n');
  const column = at - lineStart;
  return new KpipeError('KPIPE_USAGE', `--where: ${message}\n  ${line}\n  ${' '.repeat(column)}^`, {
    where: { column: column + 1 },
    next: `write it as in 'type == "order.paid" && data.amountCents > 10000'`,
    cause,
  });
}

/** The parser writes its own picture of the place under the first line. */
function summaryOf({ message }: Error): string {
  return message.split('\n')[0] ?? message;
}

/** What people of other languages write first. */
const foreign: readonly (readonly [RegExp, string])[] = [
  [/^=/, 'compare with =='],
  [/^and\b/i, 'write && instead of and'],
  [/^or\b/i, 'write || instead of or'],
  [/^not\b/i, 'write ! instead of not'],
  [/^(?:is|like|matches|contains)\b/i, 'write .like("order.*"), .contains("text"), == null'],
  [/^[&|]/, 'write && and ||'],
];

function hintAt(text: string, at: number): string | undefined {
  const rest = text.slice(at);
  return foreign.find(([pattern]) => pattern.test(rest))?.[1];
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}
