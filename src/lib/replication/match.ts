import {
  factsOf,
  type PrimaryFacts,
  type ReplicationObservation,
  type Sender,
  type Slot,
  type StandbyObservation,
} from './observation.ts';

/** A standby and what the server that it follows holds for it. */
export interface Link {
  readonly standby: StandbyObservation;
  /** `primary`, or the name of the standby that it streams from. */
  readonly upstream: string | null;
  readonly sender: Sender | null;
  /** On the primary; a slot on another standby cannot be seen from here. */
  readonly slot: Slot | null;
}

/**
 * Whether WAL comes in. A standby whose history has parted from its upstream's stays connected, its sender in `startup`
 * for ever. A state that may not be seen is taken for a good one.
 */
export function isFed({ sender }: Link): boolean {
  return sender !== null && sender.state !== 'startup' && sender.state !== 'stopping';
}

/** It is on another timeline than the primary and gets no WAL: their LSNs cannot be compared. */
export function hasParted(link: Link, primary: PrimaryFacts | null): boolean {
  const facts = factsOf(link.standby.asked);
  return facts !== null && primary !== null && facts.timeline !== primary.timeline && !isFed(link);
}

export interface Matched {
  readonly links: readonly Link[];
  /** Senders to standbys that kpipe.yaml does not declare, and slots that belong to no declared standby. */
  readonly undeclared: readonly Sender[];
  readonly otherSlots: readonly Slot[];
}

/**
 * Which sender feeds which declared standby: by the slot that the standby names; else by name, since a standby's
 * application_name (or cluster_name) is what it introduces itself with.
 */
export function matchStandbys(observation: ReplicationObservation, backupSlot: string | null): Matched {
  const primary = factsOf(observation.primary);
  const slots = primary?.slots ?? [];
  const links = observation.standbys.map((standby) => linkOf(standby, observation, slots));
  const usedSenders = new Set(links.flatMap(({ sender }) => (sender === null ? [] : [sender])));
  const usedSlots = new Set(links.flatMap(({ slot }) => (slot === null ? [] : [slot])));
  return {
    links,
    undeclared: (primary?.senders ?? []).filter(
      (sender) => !usedSenders.has(sender) && isStandby(sender, slots, backupSlot),
    ),
    otherSlots: slots.filter((slot) => !usedSlots.has(slot)),
  };
}

function linkOf(standby: StandbyObservation, observation: ReplicationObservation, slots: readonly Slot[]): Link {
  const facts = factsOf(standby.asked);
  const slotName = facts?.slotName ?? null;
  // One that cannot be asked is taken to use a slot of its own name, as is the custom.
  const slot = slots.find(({ name }) => name === (slotName ?? (facts === null ? slotNameOf(standby.name) : null)));
  const upstreams = [
    { name: 'primary', senders: factsOf(observation.primary)?.senders ?? [] },
    ...observation.standbys
      .filter((other) => other !== standby)
      .map((other) => ({ name: other.name, senders: factsOf(other.asked)?.senders ?? [] })),
  ];
  for (const { name, senders } of upstreams) {
    const bySlot = name === 'primary' && slot?.active === true ? slot.activePid : null;
    const sender =
      senders.find(({ pid }) => pid === bySlot) ?? senders.find((each) => each.applicationName === standby.name);
    if (sender !== undefined) {
      return { standby, upstream: name, sender, slot: slot ?? null };
    }
  }
  return { standby, upstream: null, sender: null, slot: slot ?? null };
}

/** PostgreSQL admits only these characters in a slot's name. */
function slotNameOf(name: string): string {
  return name.toLowerCase().replaceAll(/[^a-z0-9_]/g, '_');
}

/** Backups and logical subscribers stream too. A sender that may not be seen is not accused. */
function isStandby(sender: Sender, slots: readonly Slot[], backupSlot: string | null): boolean {
  const slot = slots.find(({ activePid }) => activePid === sender.pid);
  return (
    sender.applicationName !== null &&
    sender.state !== null &&
    sender.state !== 'backup' &&
    !/^pg_(?:receivewal|basebackup|recvlogical)$/.test(sender.applicationName) &&
    slot?.type !== 'logical' &&
    (slot === undefined || slot.name !== backupSlot)
  );
}
