import { once } from 'node:events';
import { connect } from 'node:net';

/** A Produce request as bytes, so that a test says exactly what stands in the log: no client of kpipe's writes it. */
export interface RawProduce {
  readonly host: string;
  readonly port: number;
  readonly topic: string;
  readonly partition: number;
  readonly batch: Buffer;
}

const produceKey = 0;
/** The newest version without compact encodings. */
const version = 7;
const allReplicas = -1;

/** Answers the offset of the batch's first record. @throws Error with Kafka's error code */
export async function rawProduce({ host, port, topic, partition, batch }: RawProduce): Promise<bigint> {
  const request = Buffer.concat([
    int16(produceKey),
    int16(version),
    int32(1),
    string('raw-produce'),
    int16(-1),
    int16(allReplicas),
    int32(30_000),
    int32(1),
    string(topic),
    int32(1),
    int32(partition),
    int32(batch.length),
    batch,
  ]);
  const socket = connect(port, host);
  try {
    socket.write(Buffer.concat([int32(request.length), request]));
    let answer = Buffer.alloc(0);
    while (answer.length < 4 || answer.length < 4 + answer.readInt32BE(0)) {
      const [chunk] = (await once(socket, 'data')) as [Buffer];
      answer = Buffer.concat([answer, chunk]);
    }
    // size, correlation id, 1 topic, its name, 1 partition, its number
    const at = 4 + 4 + 4 + 2 + Buffer.byteLength(topic) + 4 + 4;
    const error = answer.readInt16BE(at);
    if (error !== 0) {
      throw new Error(`the broker refused the batch for ${topic}-${partition} with error ${error}`);
    }
    return answer.readBigInt64BE(at + 2);
  } finally {
    socket.destroy();
  }
}

function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeInt16BE(value);
  return bytes;
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}

function string(text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([int16(bytes.length), bytes]);
}
