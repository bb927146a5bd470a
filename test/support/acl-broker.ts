import { appendFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { makeSandboxDirectories, sandboxPaths } from '../../src/lib/sandbox/directory.ts';
import { brokerName, brokerSpec, prepareBroker } from '../../src/lib/sandbox/kafka.ts';
import { portsFrom } from '../../src/lib/sandbox/ports.ts';
import { startProcess, stopRecorded } from '../../src/lib/sandbox/processes.ts';
import { findTools } from '../../src/lib/sandbox/tools.ts';
import type { SandboxState } from '../../src/lib/sandbox/types.ts';
import { freePorts } from './free-port.ts';

/** Everything is allowed until an ACL says something about a resource. */
const authorizer = `
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=true
`;

/** A broker of one test file's own that knows access control. */
export interface AclBroker {
  /** `host:port` */
  readonly address: string;
  readonly stop: () => Promise<void>;
}

/** Answers when it is on its way, not when it serves. */
export async function startAclBroker(): Promise<AclBroker> {
  const directory = mkdtempSync(join(tmpdir(), 'kpipe-acl-'));
  const paths = sandboxPaths(directory);
  const tools = findTools(process.env);
  const { signal } = new AbortController();
  makeSandboxDirectories(paths);
  const ports = portsFrom(await freePorts(2), 1);
  const state: SandboxState = {
    version: 1,
    directory,
    brokers: 1,
    kafkaClusterId: 'kpipe-acl-test-clust-A',
    ports,
    bigquery: { available: false, reason: 'off' },
    configPath: null,
  };
  await prepareBroker(paths, state, tools, 1, signal);
  appendFileSync(join(paths.conf, `${brokerName(1)}.properties`), authorizer);
  startProcess(paths, brokerSpec(paths, tools, 1));
  return {
    address: `127.0.0.1:${ports.brokers[0]}`,
    stop: async () => {
      await stopRecorded(paths, brokerName(1), 'SIGKILL', 10_000);
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
