import { formatDuration } from '../lib/config/units.ts';
import type { ProbeRole, ProbeState } from '../lib/dashboard/active-probe.ts';
import type { DashboardPaces, DashboardPart } from '../lib/dashboard/paces.ts';
import type { DashboardState } from '../lib/dashboard/watch.ts';
import type { Freshness, LagScreenFeed as ShownFeed, LagScreenModel, Page, ViewName } from '../ui/lag-screen-model.ts';
import { brokerPage, brokersPage } from './dashboard/brokers.ts';
import { chartsPage } from './dashboard/charts.ts';
import { freshnessOf, type Clock } from './dashboard/freshness.ts';
import { headerLine } from './dashboard/header.ts';
import { addGap, addLook, type LagTrends } from './dashboard/lag-trends.ts';
import { latencyPage } from './dashboard/latency.ts';
import { groupPage, overviewPage } from './dashboard/overview.ts';
import { rolesPage } from './dashboard/roles.ts';
import { addThroughput, topicPage, topicsPage, type TopicTrends } from './dashboard/topics.ts';
import { escapeControls } from './output/escape.ts';
import { PacedFeed } from './paced-feed.ts';

export interface LagScreenFeedOptions {
  readonly title: string;
  readonly paces: DashboardPaces;
  readonly lossAlarmMs: number;
  readonly now: () => number;
  readonly probe: (role: ProbeRole) => void;
}

/** What each view shows, and so what is looked at at the interval while it is open. */
const partsOfView: Readonly<Record<ViewName, readonly [DashboardPart, ...DashboardPart[]]>> = {
  overview: ['lag'],
  group: ['lag'],
  charts: ['lag'],
  roles: ['lag', 'processes', 'stores'],
  latency: ['lag', 'processes'],
  topics: ['topics'],
  topic: ['topics'],
  brokers: ['brokers'],
  broker: ['brokers'],
};

/** Turns what was seen into pages, one for each view, and the screen's keys into paces and probes. */
export class LagScreenFeed extends PacedFeed<LagScreenModel> implements ShownFeed {
  readonly #options: LagScreenFeedOptions;
  #state: DashboardState = nothingSeen;
  #probe: ProbeState = { kind: 'none' };
  #lagTrends: LagTrends = new Map();
  #topicTrends: TopicTrends = new Map();

  constructor(options: LagScreenFeedOptions) {
    super(options.paces, {
      title: escapeControls(options.title),
      paused: false,
      interval: formatDuration(options.paces.intervalMs),
      header: [],
    });
    this.#options = options;
  }

  /** What a look at `part` has changed. */
  show(state: DashboardState, part: DashboardPart): void {
    const nowMs = this.#options.now();
    this.#state = state;
    if (part === 'lag') {
      const { report, failure, seenAtMs } = state.lag;
      this.#lagTrends =
        failure !== null || report === null
          ? addGap(this.#lagTrends, nowMs)
          : addLook(this.#lagTrends, report, seenAtMs ?? nowMs);
    }
    if (part === 'topics' && state.topics.failure === null && state.topics.report !== null) {
      this.#topicTrends = addThroughput(this.#topicTrends, state.topics.report);
    }
    this.update({ header: headerLine(state, nowMs) });
  }

  showProbe(probe: ProbeState): void {
    this.#probe = probe;
    this.update({});
  }

  /** Ages go on while no look comes back: once a second, and only where something is old. */
  tick(): void {
    const { lag, brokers, topics, replica, backup } = this.#state;
    const old = [lag, brokers, topics, replica, backup].some(
      (part) => part !== null && part.seenAtMs !== null && (part.failure !== null || this.#isLate(part.seenAtMs)),
    );
    if (old && !this.#options.paces.paused) {
      this.update({ header: headerLine(this.#state, this.#options.now()) });
    }
  }

  /** The view that is open: what it shows is looked at more often. */
  readonly open = (view: ViewName): void => {
    this.#options.paces.show(partsOfView[view]);
  };

  readonly probe = (role: ProbeRole): void => this.#options.probe(role);

  /** @param of the group, topic or broker that is opened, or whose charts are shown */
  readonly page = (view: ViewName, of: string | null): Page => {
    const nowMs = this.#options.now();
    return { ...this.#content(view, of ?? '', nowMs), freshness: this.#freshness(view, nowMs) };
  };

  #content(view: ViewName, of: string, nowMs: number): Omit<Page, 'freshness'> {
    const { lag, topics, brokers, processes, stores } = this.#state;
    const { lossAlarmMs } = this.#options;
    switch (view) {
      case 'overview':
        return overviewPage(lag.report, this.#lagTrends, lossAlarmMs, { key: of, nowMs });
      case 'group':
        return groupPage(lag.report, of, lossAlarmMs);
      case 'charts':
        return chartsPage(lag.report, this.#lagTrends, of, nowMs);
      case 'topics':
        return topicsPage(topics.report, this.#topicTrends);
      case 'topic':
        return topicPage(topics.report, of);
      case 'brokers':
        return brokersPage(brokers.report);
      case 'broker':
        return brokerPage(brokers.report, of);
      case 'roles':
        return rolesPage({
          lag: lag.report,
          processes: processes?.report ?? null,
          stores: stores?.report ?? null,
          lossAlarmMs,
        });
      case 'latency':
        return latencyPage({
          lag: lag.report,
          processes: processes?.report ?? null,
          hasAddresses: processes !== null,
          probe: this.#probe,
        });
    }
  }

  #freshness(view: ViewName, nowMs: number): Freshness {
    const { paces } = this.#options;
    const clock: Clock = { nowMs, intervalMs: paces.paused ? null : paces.intervalMs };
    const { lag, topics, brokers } = this.#state;
    switch (partsOfView[view][0]) {
      case 'topics':
        return freshnessOf(topics, clock, null);
      case 'brokers':
        return freshnessOf(brokers, clock, null);
      default:
        return freshnessOf(lag, clock, lag.report?.cost.requests ?? null);
    }
  }

  #isLate(seenAtMs: number): boolean {
    return this.#options.now() - seenAtMs > 2 * this.#options.paces.intervalMs;
  }
}

const notSeen = { report: null, seenAtMs: null, lookMs: null, failure: null, failedLooks: 0 };
const nothingSeen: DashboardState = {
  lag: notSeen,
  brokers: notSeen,
  topics: notSeen,
  processes: null,
  stores: null,
  replica: null,
  backup: null,
};
