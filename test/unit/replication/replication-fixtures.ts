import type {
  PrimaryFacts,
  ReplicationObservation,
  Sender,
  Slot,
  StandbyFacts,
  StandbyObservation,
} from '../../../src/lib/replication/observation.ts';

export const nowMs = Date.UTC(2026, 10, 23, 12);
const end = 100_000_000n;

export function sender(over: Partial<Sender> = {}): Sender {
  return {
    pid: 10,
    applicationName: 'replica1',
    clientAddress: '10.0.0.2',
    state: 'streaming',
    syncState: 'async',
    sentLsn: end,
    writeLsn: end,
    flushLsn: end,
    replayLsn: end,
    writeLagMs: null,
    flushLagMs: null,
    replayLagMs: null,
    replyAgeMs: 4000,
    xminAge: null,
    ...over,
  };
}

export function slot(over: Partial<Slot> = {}): Slot {
  return {
    name: 'replica1',
    type: 'physical',
    active: true,
    activePid: 10,
    walStatus: 'reserved',
    restartLsn: end,
    safeWalBytes: null,
    xminAge: null,
    invalidationReason: null,
    ...over,
  };
}

const server = {
  address: '10.0.0.1:5432',
  version: '15.18',
  systemIdentifier: '7711254786906541345',
  timeline: 1,
  statisticsVisible: true,
  beatAtMs: nowMs - 3000,
  nowMs,
};

export function primary(over: Partial<PrimaryFacts> = {}): PrimaryFacts {
  return {
    ...server,
    inRecovery: false,
    lsn: end,
    senders: [sender()],
    slots: [slot()],
    slotKeepBytes: null,
    synchronousStandbyNames: '',
    ...over,
  };
}

export function standby(over: Partial<StandbyFacts> = {}): StandbyFacts {
  return {
    ...server,
    address: '10.0.0.2:5432',
    inRecovery: true,
    senders: [],
    receivedLsn: end,
    replayedLsn: end,
    replayPaused: false,
    replayAgeMs: 3_600_000,
    receiver: { pid: 20, status: 'streaming', senderHost: '10.0.0.1', senderPort: 5432, messageAgeMs: 100 },
    statusIntervalMs: 10_000,
    slotName: 'replica1',
    hotStandbyFeedback: true,
    applyDelayMs: 0,
    archiveOnly: false,
    conflicts: { tablespace: 0, lock: 0, snapshot: 0, bufferpin: 0, deadlock: 0, logicalSlot: 0 },
    blocked: null,
    ...over,
  };
}

export const behindBy = (bytes: number): bigint => end - BigInt(bytes);

export function declared(facts: StandbyFacts | string, over: Partial<StandbyObservation> = {}): StandbyObservation {
  return {
    name: 'replica1',
    maxLagMs: 5000,
    asked:
      typeof facts === 'string'
        ? { kind: 'away', code: 'KPIPE_POSTGRES_UNREACHABLE', reason: facts }
        : { kind: 'answered', facts },
    catchUpMs: null,
    ...over,
  };
}

export function observation(
  facts: PrimaryFacts | string,
  standbys: readonly StandbyObservation[],
  over: Partial<ReplicationObservation> = {},
): ReplicationObservation {
  return {
    observedAtMs: nowMs,
    primary:
      typeof facts === 'string'
        ? { kind: 'away', code: 'KPIPE_POSTGRES_UNREACHABLE', reason: facts }
        : { kind: 'answered', facts },
    standbys,
    probe: null,
    ...over,
  };
}
