import type { ClusterObservation, LogDirectory } from '../../health/cluster-observation.ts';
import { directoryKey, forecastDisk, type DiskHistory } from '../../health/disk-forecast.ts';
import type { DiskRoom } from './retention.ts';

interface PlacedDirectory {
  readonly broker: number;
  readonly host: string;
  readonly directory: LogDirectory;
}

/** Two brokers on one machine may share a file system; then they tell sizes that differ by what was written in between. */
const sameDiskShare = 0.001;

/** The room on all brokers' disks; null when one of them does not tell. Pure. */
export function diskRoomOf(seen: ClusterObservation, history: DiskHistory, usedPercent: number): DiskRoom | null {
  const found = seen.brokers.flatMap(({ id, address, logDirectories }) =>
    (logDirectories ?? [])
      .filter(({ problem }) => problem === null)
      .map((directory) => ({ broker: id, host: address?.replace(/:\d+$/, '') ?? '', directory })),
  );
  const isTold = ({ directory }: PlacedDirectory): boolean =>
    directory.totalBytes !== null && directory.usableBytes !== null;
  if (found.length === 0 || !found.every(isTold)) {
    return null;
  }
  const disks = found.filter((each, index) => !found.slice(0, index).some((before) => isSameDisk(before, each)));
  const sum = (bytes: (directory: LogDirectory) => number | null): number =>
    disks.reduce((total, { directory }) => total + (bytes(directory) ?? 0), 0);
  return {
    totalBytes: sum(({ totalBytes }) => totalBytes),
    usableBytes: sum(({ usableBytes }) => usableBytes),
    usedPercent,
    ...firstFull(found, seen, history),
  };
}

function isSameDisk(left: PlacedDirectory, right: PlacedDirectory): boolean {
  const apart = Math.abs((left.directory.usableBytes ?? 0) - (right.directory.usableBytes ?? 0));
  const total = left.directory.totalBytes ?? 0;
  return left.host === right.host && total === right.directory.totalBytes && apart <= total * sameDiskShare;
}

function firstFull(
  directories: readonly PlacedDirectory[],
  seen: ClusterObservation,
  history: DiskHistory,
): Pick<DiskRoom, 'fullInMs' | 'fullHow'> {
  const bounds = new Map(seen.topics.map(({ name, retention }) => [name, retention]));
  const forecasts = directories.map(({ broker, directory }) => {
    const samples = history.get(directoryKey(broker, directory.path)) ?? [];
    return { broker, directory, told: forecastDisk(directory, samples, (topic) => bounds.get(topic) ?? null) };
  });
  const unknown = forecasts.find(({ told }) => told.kind === 'unknown');
  if (unknown?.told.kind === 'unknown') {
    return { fullInMs: null, fullHow: unknown.told.reason };
  }
  const full = forecasts.flatMap(({ broker, directory, told }) =>
    told.kind === 'known' && told.forecast.fullInMs !== null
      ? [{ broker, path: directory.path, inMs: told.forecast.fullInMs }]
      : [],
  );
  const first = full.toSorted((left, right) => left.inMs - right.inMs)[0];
  return first === undefined
    ? { fullInMs: null, fullHow: 'never, at the growth of the watch' }
    : { fullInMs: first.inMs, fullHow: `broker ${first.broker}, ${first.path}, at the growth of the watch` };
}
