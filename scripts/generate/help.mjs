import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

import { Config } from '@oclif/core';

/**
 * The help of kpipe ('') and of every topic and command (`topics plan`), as src/cli/help.ts shows it; its headings are bold
 * where this process shows colour.
 * @returns {Promise<Record<string, string>>}
 */
export async function renderHelp(root) {
  const { default: KpipeHelp } = await import(pathToFileURL(join(root, 'dist', 'cli', 'help.js')).href);
  let text = '';
  class Written extends KpipeHelp {
    log(...lines) {
      text += `${lines.join(' ')}\n`;
    }
  }
  const { commandIDs, topics } = await Config.load({ root, ignoreManifest: true });
  const subjects = ['', ...new Set([...topics.map(({ name }) => name), ...commandIDs])].map((id) =>
    id.replaceAll(':', ' '),
  );
  const texts = {};
  for (const subject of subjects.toSorted()) {
    // Rendering changes oclif's objects (ids get spaces): each text from its own.
    const config = await Config.load({ root, ignoreManifest: true });
    text = '';
    try {
      await new Written(config, config.pjson.oclif.helpOptions).showHelp([
        ...subject.split(' ').filter(Boolean),
        '--help',
      ]);
      texts[subject] = text;
    } catch (error) {
      // A topic that is described before it has commands.
      if (error.code !== 'KPIPE_USAGE') {
        throw error;
      }
    }
  }
  return texts;
}
