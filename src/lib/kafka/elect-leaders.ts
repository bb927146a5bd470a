import type { ElectionAnswer, TopicPartition } from '../ports.ts';
import type { KafkaConnections, KafkaDriver } from './connections.ts';
import { controller } from './topic-requests.ts';

/** ElectLeaders, version 2: the driver has no such request. */
const electLeadersKey = 43;
const version = 2;
const preferred = 0;
/** ELECTION_NOT_NEEDED: the preferred replica leads already. */
const notNeeded = 84;

type Arguments = [timeoutMs: number, partitions: readonly TopicPartition[]];
type Reader = Parameters<Parameters<KafkaDriver['createAPI']>[3]>[3];
interface Answer {
  readonly errorCode: number;
  readonly answers: readonly (TopicPartition & { readonly errorCode: number; readonly message: string | null })[];
}

/** Asks for the preferred replica, the first of each partition, as its leader. Each partition has its own answer. */
export async function electPreferred(
  kafka: KafkaConnections,
  partitions: readonly TopicPartition[],
  timeoutMs: number,
): Promise<readonly ElectionAnswer[]> {
  const api = electLeadersApi(kafka.driver);
  const { answers } = await kafka.request(await controller(kafka), [api], timeoutMs, partitions);
  return answers.map(({ topic, partition, errorCode, message }) => ({
    topic,
    partition,
    outcome: errorCode === 0 ? 'elected' : errorCode === notNeeded ? 'not needed' : 'failed',
    reason: errorCode === 0 || errorCode === notNeeded ? null : (message ?? `error ${errorCode}`),
  }));
}

function electLeadersApi(driver: KafkaDriver): ReturnType<typeof driver.createAPI<Arguments, Answer>> {
  return driver.createAPI<Arguments, Answer>(
    electLeadersKey,
    version,
    (timeoutMs: number, partitions: readonly TopicPartition[]) =>
      driver.Writer.create()
        .appendInt8(preferred)
        .appendArray([...Map.groupBy(partitions, ({ topic }) => topic)], (writer, [topic, ofTopic]) => {
          writer
            .appendString(topic)
            .appendArray(ofTopic, (inner, each) => inner.appendInt32(each.partition), true, false);
        })
        .appendInt32(timeoutMs)
        .appendTaggedFields(),
    (_correlationId, key, _version, reader) => readAnswer(driver, key, reader),
  );
}

function readAnswer(driver: KafkaDriver, key: number, reader: Reader): Answer {
  reader.readInt32(); // throttle time
  const errorCode = reader.readInt16();
  const topics = reader.readArray((inner) => ({
    topic: inner.readString(),
    partitions: inner.readArray((each) => ({
      partition: each.readInt32(),
      errorCode: each.readInt16(),
      message: each.readNullableString() ?? null,
    })),
  }));
  reader.readTaggedFields();
  const answers = topics.flatMap(({ topic, partitions }) => partitions.map((each) => ({ topic, ...each })));
  if (errorCode !== 0) {
    throw new driver.ResponseError(key, version, { '/': [errorCode, null] }, { errorCode, answers });
  }
  return { errorCode, answers };
}
