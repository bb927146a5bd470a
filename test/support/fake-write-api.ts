import {
  Server,
  ServerCredentials,
  status,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type sendUnaryData,
} from '@grpc/grpc-js';
import { protos } from '@google-cloud/bigquery-storage';

const { v1 } = protos.google.cloud.bigquery.storage;
type Api = typeof v1;
type Message<Name extends keyof Api> = Api[Name] extends new (...args: never[]) => infer Instance ? Instance : never;
type AppendRowsRequest = Message<'AppendRowsRequest'>;

/**
 * A small server of the Storage Write API for the answers that no stand-in gives: rows that are refused, states told
 * apart, connections that are cut. Written from the public reference
 * (https://cloud.google.com/bigquery/docs/reference/storage/rpc/google.cloud.bigquery.storage.v1). It differs from Google's
 * in that it has one table, knows no schema but the names of its columns, where a test gives them, and refuses only what
 * a test tells it to.
 */
export interface FakeWriteApi {
  readonly endpoint: string;
  /** The requests of AppendRows as they came, over all connections. */
  readonly appends: readonly AppendRowsRequest[];
  /** Rows that are visible: those of committed streams. */
  readonly visible: readonly Buffer[];
  /** The names that a writer's schema may have; null: any. */
  columns: readonly string[] | null;
  /** What the next appends meet: a response, a cut connection, or (undefined) success. */
  onAppend: (
    request: AppendRowsRequest,
    rows: readonly Buffer[],
  ) => protos.google.cloud.bigquery.storage.v1.IAppendRowsResponse | 'cut' | undefined;
  /** The state that commits of a stream find, where it is not the stream's own. */
  onCommit: (stream: string) => keyof Api['StorageError']['StorageErrorCode'] | 'NOT_FOUND' | 'UNAVAILABLE' | undefined;
  close(): void;
}

interface Stream {
  readonly rows: Buffer[];
  finalized: boolean;
  committed: boolean;
}

const rpc = <Request, Response>(
  name: string,
  request: { decode(bytes: Uint8Array): Request },
  response: { fromObject(value: object): Response; encode(value: Response): { finish(): Uint8Array } },
  streams: boolean,
) => ({
  path: `/google.cloud.bigquery.storage.v1.BigQueryWrite/${name}`,
  requestStream: streams,
  responseStream: streams,
  requestSerialize: (): Buffer => Buffer.alloc(0),
  requestDeserialize: (bytes: Buffer): Request => request.decode(bytes),
  responseSerialize: (value: object): Buffer => Buffer.from(response.encode(response.fromObject(value)).finish()),
  responseDeserialize: (): object => ({}),
});

const service = {
  createWriteStream: rpc('CreateWriteStream', v1.CreateWriteStreamRequest, v1.WriteStream, false),
  getWriteStream: rpc('GetWriteStream', v1.GetWriteStreamRequest, v1.WriteStream, false),
  appendRows: rpc('AppendRows', v1.AppendRowsRequest, v1.AppendRowsResponse, true),
  finalizeWriteStream: rpc('FinalizeWriteStream', v1.FinalizeWriteStreamRequest, v1.FinalizeWriteStreamResponse, false),
  batchCommitWriteStreams: rpc(
    'BatchCommitWriteStreams',
    v1.BatchCommitWriteStreamsRequest,
    v1.BatchCommitWriteStreamsResponse,
    false,
  ),
};

const commitTime = { seconds: 1_795_000_000 };

export async function startFakeWriteApi(): Promise<FakeWriteApi> {
  const streams = new Map<string, Stream>();
  const server = new Server({ 'grpc.max_receive_message_length': 20_000_000 });
  const appends: AppendRowsRequest[] = [];
  const fake = {
    endpoint: '',
    appends,
    get visible(): readonly Buffer[] {
      return [...streams.values()].flatMap(({ committed, rows }) => (committed ? rows : []));
    },
    columns: null,
    onAppend: (): undefined => undefined,
    onCommit: (): undefined => undefined,
    close: () => server.forceShutdown(),
  } as FakeWriteApi & { endpoint: string };

  const unary =
    <Request>(work: (request: Request) => object | { readonly code: status }) =>
    (call: ServerUnaryCall<Request, object>, reply: sendUnaryData<object>): void => {
      const answer = work(call.request);
      if ('code' in answer && typeof answer.code === 'number') {
        reply({ code: answer.code, details: status[answer.code] });
      } else {
        reply(null, answer);
      }
    };

  server.addService(service, {
    createWriteStream: unary((request: Message<'CreateWriteStreamRequest'>) => {
      const name = `${request.parent}/streams/fake${streams.size}`;
      streams.set(name, { rows: [], finalized: false, committed: false });
      return { name };
    }),
    getWriteStream: unary((request: Message<'GetWriteStreamRequest'>) => {
      const stream = streams.get(request.name);
      return stream === undefined
        ? { code: status.NOT_FOUND }
        : { name: request.name, ...(stream.committed ? { commitTime } : {}) };
    }),
    finalizeWriteStream: unary((request: Message<'FinalizeWriteStreamRequest'>) => {
      const stream = streams.get(request.name);
      if (stream === undefined) {
        return { code: status.NOT_FOUND };
      }
      stream.finalized = true;
      return { rowCount: stream.rows.length };
    }),
    batchCommitWriteStreams: unary((request: Message<'BatchCommitWriteStreamsRequest'>) => {
      const [name = ''] = request.writeStreams;
      const stream = streams.get(name);
      const told = fake.onCommit(name);
      if (told === 'NOT_FOUND' || told === 'UNAVAILABLE') {
        return { code: status[told] };
      }
      const code = told ?? stateOf(stream);
      if (code !== null) {
        return { streamErrors: [{ code, entity: name }] };
      }
      if (stream !== undefined) {
        stream.committed = true;
      }
      return { commitTime };
    }),
    appendRows: (call: ServerDuplexStream<AppendRowsRequest, object>) => {
      call.on('data', (request: AppendRowsRequest) => {
        appends.push(request);
        const rows = (request.protoRows?.rows?.serializedRows ?? []).map((row) => Buffer.from(row));
        const told = extraFields(request, fake.columns) ?? fake.onAppend(request, rows);
        if (told === 'cut') {
          call.emit('error', Object.assign(new Error('cut'), { code: status.UNAVAILABLE, details: 'cut' }));
        } else if (told === undefined) {
          call.write(append(streams.get(request.writeStream), Number(request.offset?.value ?? -1), rows));
        } else {
          call.write(told);
        }
      });
      call.on('end', () => call.end());
      call.on('error', () => undefined);
    },
  });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  fake.endpoint = `127.0.0.1:${port}`;
  return fake;
}

/** A schema with more fields than the table has: the request is refused, and no row named. */
function extraFields(request: AppendRowsRequest, columns: readonly string[] | null): { error: object } | undefined {
  const fields = request.protoRows?.writerSchema?.protoDescriptor?.field ?? [];
  const extra = fields.map(({ name }) => name ?? '').filter((name) => columns?.includes(name) === false);
  const message = `Input schema has more fields than BigQuery schema, extra fields: '${extra.join(', ')}'`;
  return extra.length === 0 ? undefined : { error: { code: status.INVALID_ARGUMENT, message } };
}

function stateOf(stream: Stream | undefined): string | null {
  if (stream === undefined) {
    return 'STREAM_NOT_FOUND';
  }
  if (stream.committed) {
    return 'STREAM_ALREADY_COMMITTED';
  }
  return stream.finalized ? null : 'INVALID_STREAM_STATE';
}

/** Appends at the offset that is next; one that is there already, or a gap, is told as Google tells it. */
function append(stream: Stream | undefined, offset: number, rows: readonly Buffer[]): object {
  if (stream === undefined) {
    return { error: { code: status.NOT_FOUND, message: 'no such stream' } };
  }
  if (offset !== stream.rows.length) {
    const code = offset < stream.rows.length ? status.ALREADY_EXISTS : status.OUT_OF_RANGE;
    return { error: { code, message: 'offset' } };
  }
  stream.rows.push(...rows);
  return { appendResult: { offset: { value: offset } } };
}
