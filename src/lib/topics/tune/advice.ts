/** What `kpipe topics tune` says: data that is printed, and that `--write` takes its edits from. */

/** What an advice rests on. Not known is null; then `how` says why. */
export interface Evidence {
  readonly what: string;
  readonly value: number | null;
  readonly unit: EvidenceUnit;
  /** How it was measured, over how much, or who says so. */
  readonly how: string;
}

export type EvidenceUnit =
  | 'B'
  | 'B/s'
  | 'B/batch'
  | 'B/record'
  | 'records'
  | 'records/s'
  | 'records/batch'
  | 'batches/s'
  | 'ms'
  | 'consumers'
  | 'partitions'
  | 'replicas'
  | 'brokers'
  | 'percent';

/** A value of kpipe.yaml that the advice would have otherwise. */
export interface YamlEdit {
  readonly path: readonly string[];
  /** As kpipe.yaml has it; null: it has none. */
  readonly from: string | number | null;
  readonly to: string | number;
}

export type TuneRule = 'partitions' | 'producers' | 'retention' | 'durability' | 'sink';

export interface Advice {
  readonly rule: TuneRule;
  /** `notice`: worth knowing, and nothing that kpipe.yaml could say better. `unknown`: too little was seen. */
  readonly verdict: 'change' | 'notice' | 'keep' | 'unknown';
  readonly summary: string;
  readonly evidence: readonly Evidence[];
  /** `certain`: configuration, not a sample. */
  readonly confidence: Confidence;
  /** Why it is no better; null: nothing speaks against it. */
  readonly confidenceReason: string | null;
  /** What following it costs. */
  readonly costs: readonly string[];
  readonly edits: readonly YamlEdit[];
  /** Settings of the topic's producers, by their names in Kafka's clients. */
  readonly producerSettings: Readonly<Record<string, string>>;
  readonly commands: readonly string[];
}

export type Confidence = 'certain' | 'good' | 'low' | 'none';

/** An advice with nothing to do, to be written over. */
export const nothingToDo = { costs: [], edits: [], producerSettings: {}, commands: [] } as const;

export function planCommands(topic: string): readonly string[] {
  return [`kpipe topics plan --topic ${topic}`, `kpipe topics apply --topic ${topic}`];
}

export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
