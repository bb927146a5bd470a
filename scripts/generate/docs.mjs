import { stripVTControlCharacters } from 'node:util';

import { renderHelp } from './help.mjs';

/** docs/commands.md: every command's help, as the terminal shows it. */
export async function renderCommandDocs(root) {
  const { '': overview, ...texts } = await renderHelp(root);
  const block = (text) => ['```', stripVTControlCharacters(text).trimEnd(), '```'].join('\n');
  const chapters = Object.entries(texts).map(([subject, text]) => `## kpipe ${subject}\n\n${block(text)}`);
  const note = 'Generated from the commands by `npm run generate`: edit the commands, not this file.';
  return `${['# Commands', note, block(overview), ...chapters].join('\n\n')}\n`;
}
