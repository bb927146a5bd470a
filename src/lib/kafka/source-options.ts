export interface SourceOptions {
  readonly topic: string;
  /** The topic that is meant: one that was made anew under the same name is not read. Absent: whichever is there. */
  readonly topicId?: string;
  readonly group: string;
  readonly clientId: string;
  /** What one fetch brings of one partition at most, compressed; a batch that is larger comes whole. */
  readonly maxBytesPerPartition: number;
  /** How long a broker may wait for the first byte: the price of an idle topic, paid in latency. */
  readonly maxWaitMs: number;
  /** Static membership; null: the member is as new with every start. */
  readonly instanceId: string | null;
  /** A line about the group that the operator should see. */
  readonly notice: (text: string) => void;
}
