import { KpipeError } from '../errors.ts';

/** What a scheduler is to run: this kpipe with this configuration. */
export interface UnitRequest {
  /** `[node, bin/run.js]`, absolute. */
  readonly program: readonly string[];
  readonly configFile: string;
  readonly context: string | null;
  readonly everyMs: number;
  readonly user: string;
}

export interface UnitFile {
  /** Where it belongs. */
  readonly path: string;
  readonly text: string;
}

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

/**
 * A service that receives the write-ahead log and never ends, and a timer for backup, proof and prune. Two units: a backup
 * that fails must not stop the archive.
 */
export function systemdUnits(request: UnitRequest): readonly UnitFile[] {
  const command = (...words: readonly string[]): string => [...words, ...common(request)].map(systemdWord).join(' ');
  const kpipe = request.program;
  const shared = `User=${request.user}\nUMask=0077\nNice=10\n`;
  const schedule = calendarOf(request.everyMs);
  return [
    {
      path: '/etc/systemd/system/kpipe-wal.service',
      text: `[Unit]
Description=kpipe: receive PostgreSQL's write-ahead log
Wants=network-online.target
After=network-online.target

[Service]
${shared}ExecStart=${command(...kpipe, 'backup', 'run')}
Restart=always
RestartSec=5

[Install]
WantedBy=multi-user.target
`,
    },
    {
      path: '/etc/systemd/system/kpipe-backup.service',
      text: `[Unit]
Description=kpipe: back PostgreSQL up, prove it, prune
After=kpipe-wal.service

[Service]
Type=oneshot
${shared}ExecStart=${command(...kpipe, 'backup', 'create')}
ExecStart=${command(...kpipe, 'backup', 'verify')}
ExecStart=${command(...kpipe, 'backup', 'prune', '--yes')}
`,
    },
    {
      path: '/etc/systemd/system/kpipe-backup.timer',
      text: `[Unit]
Description=kpipe: when to back PostgreSQL up

[Timer]
${schedule === undefined ? `OnBootSec=15min\nOnUnitActiveSec=${Math.round(request.everyMs / 1000)}s` : `OnCalendar=${schedule}\nPersistent=true`}
RandomizedDelaySec=${Math.min(600, Math.round(request.everyMs / 20_000))}

[Install]
WantedBy=timers.target
`,
    },
  ];
}

function common({ configFile, context }: UnitRequest): readonly string[] {
  return ['--config', configFile, ...(context === null ? [] : ['--context', context])];
}

/** Quoted for ExecStart: systemd knows `"…"`, `%` and `$` are its own. */
function systemdWord(word: string): string {
  const escaped = word.replaceAll('%', '%%').replaceAll('$', () => '$$');
  return /^[\w@%+=:,./-]+$/.test(escaped) ? escaped : `"${escaped.replaceAll(/["\\]/g, String.raw`\$&`)}"`;
}

function calendarOf(everyMs: number): string | undefined {
  return new Map([
    [hourMs, 'hourly'],
    [dayMs, 'daily'],
    [7 * dayMs, 'weekly'],
  ]).get(everyMs);
}

/** For /etc/cron.d: the archive is received by a run that the lock keeps single. @throws KPIPE_USAGE */
export function cronTable(request: UnitRequest): UnitFile {
  const { user, program } = request;
  const command = (...words: readonly string[]): string =>
    [...program, 'backup', ...words, ...common(request)].map(cronWord).join(' ');
  const work = [command('create'), command('verify'), command('prune', '--yes')].join(' && ');
  return {
    path: '/etc/cron.d/kpipe-backup',
    text: `# the write-ahead log: begun again every minute, a second one ends at once (exit 4)
* * * * * ${user} ${command('run')} >/dev/null 2>&1
${cronSchedule(request.everyMs)} ${user} ${work}
`,
  };
}

function cronSchedule(everyMs: number): string {
  const hours = everyMs / hourMs;
  if (everyMs === 7 * dayMs) {
    return '17 3 * * 0';
  }
  if (everyMs === dayMs) {
    return '17 3 * * *';
  }
  if (Number.isInteger(hours) && hours < 24 && 24 % hours === 0) {
    return `17 */${hours} * * *`;
  }
  throw new KpipeError('KPIPE_USAGE', 'cron cannot express that interval', {
    next: 'choose 1h, 2h, 3h, 4h, 6h, 8h, 12h, 1d or 7d, or use --print systemd',
  });
}

/** Quoted for sh; a % ends a command in a crontab. */
function cronWord(word: string): string {
  const quoted = /^[\w@+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
  return quoted.replaceAll('%', String.raw`\%`);
}
