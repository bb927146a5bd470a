import { Plugin } from '@oclif/core';

/** oclif.manifest.json: every command's flags and texts, so that starting one imports no other. */
export async function renderManifest(root) {
  const plugin = new Plugin({ root, isRoot: true, ignoreManifest: true, errorOnManifestCreate: true });
  await plugin.load();
  const { commands, version } = plugin.manifest;
  const sorted = Object.fromEntries(Object.entries(commands).toSorted(([left], [right]) => (left < right ? -1 : 1)));
  return `${JSON.stringify({ commands: sorted, version }, undefined, 2)}\n`;
}
