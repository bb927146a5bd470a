import { formatSize, formatDuration } from '../../lib/config/units.ts';
import type {
  SandboxDown,
  SandboxProgress,
  SandboxReset,
  SandboxStatus,
  SandboxUp,
  ServerState,
  ServerStatus,
} from '../../lib/sandbox/types.ts';
import type { View } from '../base-command.ts';
import { bad, dim, type Line, ok, strong, warn } from '../output/text.ts';

/** A line of progress for the person who waits. */
export function sandboxProgressLine(progress: SandboxProgress): Line {
  const { server, phase, detail, elapsedMs } = progress;
  const tone = phase === 'ready' || phase === 'stopped' ? ok : phase === 'unavailable' ? warn : dim;
  const took = elapsedMs === undefined ? '' : `  ${formatDuration(elapsedMs)}`;
  return [`${server.padEnd(18)} `, tone(phase), dim(took), detail === undefined ? '' : `  ${detail}`];
}

export function sandboxStatusView(status: SandboxStatus, view: View): string {
  if (status.state === 'absent') {
    return view.line(['no sandbox in ', strong(status.directory), ': kpipe sandbox up starts one']);
  }
  const table = view.table(
    [
      { title: 'SERVER' },
      { title: 'STATE' },
      { title: 'ADDRESS' },
      { title: 'PID', align: 'right' },
      { title: 'RSS', align: 'right' },
      { title: 'NOTE' },
    ],
    status.servers.map((server) => serverRow(server)),
  );
  const config = status.configPath === null ? [] : [view.line(['config  ', strong(status.configPath)])];
  const logs = view.line(['data    ', status.directory, dim('   logs in logs/')]);
  return [table, '', ...config, logs].join('\n');
}

function serverRow(server: ServerStatus): readonly Line[] {
  return [
    server.name,
    stateSpan(server.state),
    server.pid === null ? dim('–') : server.address,
    server.pid === null ? dim('–') : String(server.pid),
    server.rssBytes === null ? dim('–') : formatSize(server.rssBytes),
    server.detail ?? '',
  ];
}

function stateSpan(state: ServerState): Line {
  switch (state) {
    case 'ready':
      return ok('ready');
    case 'not-ready':
      return bad('not ready');
    case 'stopped':
      return bad('stopped');
    case 'unavailable':
      return warn('unavailable');
  }
}

export function sandboxUpView(up: SandboxUp, view: View): string {
  const headline = up.started
    ? `the sandbox is up after ${formatDuration(up.elapsedMs)}`
    : 'the sandbox was already up';
  const config = up.configPath === null ? '' : ` -c ${up.configPath}`;
  return [
    sandboxStatusView(up, view),
    '',
    view.line(ok(headline)),
    view.line(dim(`next: kpipe doctor${config}; kpipe sandbox down stops it, its data stays`)),
  ].join('\n');
}

export function sandboxDownView(down: SandboxDown, view: View): string {
  if (down.stopped.length === 0) {
    return view.line(`nothing was running in ${down.directory}`);
  }
  const killed = down.stopped.filter((server) => server.how === 'killed').map((server) => server.name);
  const note = killed.length === 0 ? '' : `; by SIGKILL: ${killed.join(', ')}`;
  return view.line(`stopped ${down.stopped.length} servers in ${down.directory}${note}`);
}

export function sandboxResetView(reset: SandboxReset, view: View): string {
  return view.line(
    reset.deleted
      ? `stopped ${reset.stopped.length} servers and deleted the sandbox in ${reset.directory}`
      : `there is no sandbox in ${reset.directory}`,
  );
}
