import type { CellLine } from '../cell.ts';
import type { ViewName } from '../lag-screen-model.ts';
import { wrapWords } from '../width.ts';

const lagHelp = [
  'LAG          records between the position and the log’s end; 0 behind control and aborted records',
  'TIME         age of the first unread record; ~ an estimate, ? not known',
  'IN/s OUT/s   what is written to the topic, and what the group moves on',
  'DRAIN        until the lag is gone at these rates; never: it does not fall',
  'LOSS-IN      until unread records begin to expire; ! below alerts.lag.lossIn',
  'STATUS       WARN lag grows, STALL the position stands, REWIND it went back, STOP nothing commits',
] as const;
const topicsHelp = [
  'RECORDS/s    what the log’s end moved by, over the last looks',
  'BYTES/s      what one replica grew by on disk: compressed; ? where records were deleted meanwhile',
  'SKEW         the busiest partition against an even share: 1× is even',
  'HOT          partitions with twice their even share or more, and at least 10 records a second',
] as const;
const brokersHelp = [
  'LEADERS      partitions that it leads; PREFERRED: that it would lead after an election',
  'OUT OF SYNC  of its replicas, those that are not in the ISR',
  'DISK FREE    of the fullest log directory; enter shows all of them, their growth and when they are full',
  'STATUS       ERR SILENT: registered and does not answer, ERR DOWN: not registered',
] as const;

const columnHelp: Readonly<Record<ViewName, readonly string[]>> = {
  overview: lagHelp,
  group: lagHelp,
  charts: ['the newest look is at the right, one dot column a look; a gap: the figure was not known', ...lagHelp],
  topics: topicsHelp,
  topic: topicsHelp,
  brokers: brokersHelp,
  broker: brokersHelp,
  latency: [
    'p50 p99      end of the histogram’s bucket: from Kafka’s timestamp until durable, of the last minute’s batches',
    'BATCHES      that became durable in the time of OVER, by all processes that answer',
    'FIRST UNREAD age of the first unread record, seen from outside',
    'a            20 probes through a topic of its own: ack by all in-sync replicas, and a consumer',
    'e            20 probes through the topic of role events, until the role has committed them',
  ],
  roles: [
    'PARTITIONS READ  by a member of the group; READY: processes that /readyz calls ready, of those that answer',
    'POSITIONS    where the truth is: PostgreSQL, or the group’s commits',
    'DEAD LETTERS since the processes started',
  ],
};

const keyHelp = [
  't b l r c    topics, brokers, latency, roles, charts; esc goes back',
  '↑↓ j k       select, page up and page down, home and end; enter opens',
  's  /         sort; filter by any column',
  'p  +  −      pause; look less often, more often',
  'q  Ctrl-C    quit',
] as const;

const indent = 13;

export interface HelpView {
  readonly view: ViewName;
  /** The first line that is shown, if there are more than there is room for. */
  readonly top: number;
  readonly room: number;
  readonly width: number;
}

/** What the columns of the view mean, then the keys. */
export function helpLines({ view, top, room, width }: HelpView): readonly CellLine[] {
  const lines = [...columnHelp[view], '', ...keyHelp].flatMap((line) => wrapWords(line, width, indent));
  const first = Math.min(top, Math.max(0, lines.length - room));
  return lines.slice(first, first + room).map((text): CellLine => [{ tone: 'plain', text }]);
}
