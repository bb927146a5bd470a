/**
 * JSON text laid out for people, two spaces a level, its numbers and strings exactly as they are written: nothing is
 * parsed into values. The text must be valid JSON. Empty objects and arrays stay on one line.
 */
export function indentJson(text: string): string {
  const tokens = text.match(/"(?:[^"\\]|\\.)*"|[^\s"{}[\],:]+|[{}[\],:]/gs) ?? [];
  let out = '';
  let depth = 0;
  for (const [index, token] of tokens.entries()) {
    switch (token) {
      case '{':
      case '[': {
        const isEmpty = tokens[index + 1] === (token === '{' ? '}' : ']');
        depth += isEmpty ? 0 : 1;
        out += isEmpty ? token : `${token}\n${pad(depth)}`;
        break;
      }
      case '}':
      case ']': {
        const isEmpty = tokens[index - 1] === (token === '}' ? '{' : '[');
        depth -= isEmpty ? 0 : 1;
        out += isEmpty ? token : `\n${pad(depth)}${token}`;
        break;
      }
      case ',':
        out += `,\n${pad(depth)}`;
        break;
      case ':':
        out += ': ';
        break;
      default:
        out += token;
    }
  }
  return out;
}

/** Deeper than anybody reads, the lines begin at one column: the text must not grow with the square of its depth. */
const maxDepth = 40;

function pad(depth: number): string {
  return '  '.repeat(Math.min(depth, maxDepth));
}
