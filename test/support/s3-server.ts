import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, vi } from 'vitest';

import { findJava, findS3Proxy, isMissing } from '../../src/lib/sandbox/tools.ts';
import { freePort } from './free-port.ts';

/** A real S3 server of one test file's own: S3Proxy, with a directory behind it, so that a test can damage what it holds. */
export interface S3Server {
  readonly endpoint: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Makes a bucket. */
  readonly bucket: (name: string) => void;
  /** The file that is an object. */
  readonly fileOf: (bucket: string, key: string) => string;
  readonly kill: () => Promise<void>;
  readonly start: () => Promise<void>;
  /** kpipe.yaml's `postgres.backups.s3` for it. */
  readonly access: (more?: object) => object;
}

export const s3Identity = { accessKeyId: 'kpipe-test', secretAccessKey: 'a-secret-of-the-test' };

/** Call it at the top level of a test file; it is ended with the file. */
export async function s3ServerOfFile(): Promise<S3Server> {
  const java = findJava(process.env);
  const s3proxy = findS3Proxy(process.env);
  if (isMissing(java) || isMissing(s3proxy)) {
    throw new Error(isMissing(java) ? java.missing : 'S3Proxy is missing: npm run setup');
  }
  const directory = mkdtempSync(join(tmpdir(), 'kpipe-s3-'));
  const data = join(directory, 'data');
  mkdirSync(data);
  const port = await freePort();
  const endpoint = `http://127.0.0.1:${port}`;
  const properties = join(directory, 's3proxy.conf');
  const logging = join(directory, 'logback.xml');
  const log = join(directory, 'log');
  writeFileSync(
    properties,
    Object.entries({
      's3proxy.endpoint': endpoint,
      's3proxy.authorization': 'aws-v4',
      's3proxy.identity': s3Identity.accessKeyId,
      's3proxy.credential': s3Identity.secretAccessKey,
      'jclouds.provider': 'filesystem-nio2',
      'jclouds.filesystem.basedir': data,
    })
      .map(([name, value]) => `${name}=${value}\n`)
      .join(''),
  );
  writeFileSync(
    logging,
    `<configuration><appender name="F" class="ch.qos.logback.core.FileAppender"><file>${log}</file>
<encoder><pattern>%d %level %logger %msg%n</pattern></encoder></appender>
<root level="WARN"><appender-ref ref="F"/></root></configuration>`,
  );
  const jvm = ['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-Xmx192m', `-Dlogback.configurationFile=${logging}`];
  const args = [...jvm, '-cp', s3proxy.classPath, 'org.gaul.s3proxy.Main', '--properties', properties];
  let server: ChildProcess | null = null;
  const start = async (): Promise<void> => {
    const started = spawn(java.java, args, { stdio: 'ignore' });
    server = started;
    const answers = async (): Promise<void> => {
      if (started.exitCode !== null) {
        throw new Error(`S3Proxy ended: ${readFileSync(log, 'utf8')}`);
      }
      await fetch(endpoint);
    };
    await vi.waitFor(answers, { timeout: 120_000, interval: 100 });
  };
  const kill = async (): Promise<void> => {
    if (server !== null && server.exitCode === null && server.signalCode === null) {
      const ended = once(server, 'exit');
      server.kill('SIGKILL');
      await ended;
    }
  };
  afterAll(async () => {
    await kill();
    rmSync(directory, { recursive: true, force: true });
  });
  await start();
  return {
    ...s3Identity,
    endpoint,
    bucket: (name) => mkdirSync(join(data, name)),
    fileOf: (bucket, key) => join(data, bucket, key),
    kill,
    start,
    access: (more) => ({ endpoint, region: 'us-east-1', ...s3Identity, giveUp: '20s', ...more }),
  };
}

type Lifted = () => void;

/** Between kpipe and a server: answers for it, and cuts what it says. */
export interface S3Faults {
  readonly endpoint: string;
  /** The next requests that match get this status and no server sees them; until they were so many, or it is lifted. */
  readonly refuse: (request: RegExp, status: number, times: number) => Lifted;
  /** The connection of the next answer to a request that matches is cut when so many bytes of it have passed. */
  readonly cut: (request: RegExp, afterBytes: number, times?: number) => void;
  /** The first lines of the requests that passed, or were refused or cut. */
  readonly requests: readonly string[];
}

interface Fault {
  readonly request: RegExp;
  readonly status: number | null;
  readonly afterBytes: number;
  times: number;
}

/** One request at a time on a connection, as Node's client makes them. */
export async function s3FaultsOfFile(target: S3Server): Promise<S3Faults> {
  const faults: Fault[] = [];
  const requests: string[] = [];
  const sockets = new Set<Socket>();
  const { hostname, port } = new URL(target.endpoint);
  const server = createServer((client) => {
    const upstream = connect(Number(port), hostname);
    let fault: Fault | undefined;
    let passed = 0;
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        sockets.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    client.on('data', (chunk) => {
      const [, line] = /^((?:GET|PUT|POST|DELETE|HEAD) \S+) HTTP/.exec(chunk.toString('latin1')) ?? [];
      if (line !== undefined) {
        requests.push(line);
        passed = 0;
        fault = faults.find((each) => each.times > 0 && each.request.test(line));
        if (fault !== undefined) {
          fault.times -= 1;
        }
      }
      if (fault !== undefined && fault.status !== null) {
        client.end(`HTTP/1.1 ${fault.status} Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`);
        return;
      }
      upstream.write(chunk);
    });
    upstream.on('data', (chunk) => {
      passed += chunk.length;
      if (fault !== undefined && passed > fault.afterBytes) {
        client.destroy();
        return;
      }
      if (!client.write(chunk)) {
        upstream.pause();
        client.once('drain', () => upstream.resume());
      }
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  afterAll(async () => {
    sockets.forEach((socket) => socket.destroy());
    server.close();
    await once(server, 'close');
  });
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    refuse: (request, status, times) => {
      const fault: Fault = { request, status, afterBytes: 0, times };
      faults.push(fault);
      return () => {
        fault.times = 0;
      };
    },
    cut: (request, afterBytes, times = 1) => void faults.push({ request, status: null, afterBytes, times }),
  };
}
