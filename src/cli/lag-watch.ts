import type { Config } from '../lib/config/load.ts';
import { ActiveProbe } from '../lib/dashboard/active-probe.ts';
import { DashboardPaces } from '../lib/dashboard/paces.ts';
import { watchDashboard } from '../lib/dashboard/watch.ts';
import { KpipeError } from '../lib/errors.ts';
import type { LagTarget } from '../lib/offsets/targets.ts';
import { keepYoungGenerationSmall } from '../lib/runtime/young-generation.ts';
import { LagScreenFeed } from './lag-screen-feed.ts';
import { lossAlarmOf } from './views/lag.ts';

/** How a screen ended: `q`, Ctrl-C, or the signal. */
type ScreenEnd = 'quit' | 'interrupted' | 'taken away';

export interface LagWatchOptions {
  readonly targets: readonly LagTarget[];
  readonly intervalMs: number;
  /** undefined: until somebody quits. */
  readonly forMs?: number | undefined;
  /** Addresses of roles' processes. */
  readonly processes: readonly string[];
}

const tickMs = 1000;

/** Runs the dashboard: looks at everything, and shows it on the screen that it is given until that ends. */
export async function runLagScreen(
  config: Config,
  options: LagWatchOptions,
  showScreen: (feed: LagScreenFeed, signal: AbortSignal) => Promise<ScreenEnd>,
  interruption: AbortSignal,
): Promise<ScreenEnd> {
  // What a look leaves behind is garbage at the next one.
  keepYoungGenerationSmall();
  const { forMs, targets, processes } = options;
  const leave = new AbortController();
  const signals = [interruption, leave.signal, ...(forMs === undefined ? [] : [AbortSignal.timeout(forMs)])];
  const signal = AbortSignal.any(signals);
  const paces = new DashboardPaces(options.intervalMs);
  const probe = new ActiveProbe(config, (state) => feed.showProbe(state), signal);
  const feed = new LagScreenFeed({
    title: config.context ?? config.pipeline,
    paces,
    lossAlarmMs: lossAlarmOf(config),
    now: Date.now,
    probe: (role) => probe.start(role),
  });
  const ticking = setInterval(() => feed.tick(), tickMs);
  const watching = watchDashboard(
    config,
    { targets, processes, paces, now: Date.now },
    (state, part) => feed.show(state, part),
    signal,
  ).finally(() => leave.abort());
  try {
    return await showScreen(feed, signal);
  } finally {
    clearInterval(ticking);
    leave.abort();
    await Promise.all([watching, probe.settled()]);
  }
}

/** `http://10.0.0.1:9464`, of an address with or without a path. @throws KPIPE_USAGE */
export function processAddress(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new KpipeError('KPIPE_USAGE', `--metrics: ${text} is not an address such as http://10.0.0.1:9464`, {
      next: 'name what `kpipe consume ROLE --metrics-port` serves',
    });
  }
  return `${url.origin}${url.pathname.replace(/\/(metrics)?$/, '')}`;
}
