/**
 * Terms. A *server* is one process of the sandbox (`kafka-1`, `postgres-primary`, …). Its *record* is the file `run/NAME.pid`,
 * which the process itself writes before it becomes the server, so that it can be found whatever happened to kpipe. The
 * *state* is `state.json`: what was decided once (broker count, ports, cluster id) and is used again by the next `up`.
 */
export type ServerName =
  | 'kafka-1'
  | 'kafka-2'
  | 'kafka-3'
  | 'postgres-primary'
  | 'postgres-replica1'
  | 'redis'
  | 'bigquery';

export type BrokerCount = 1 | 3;

/** Every port of the sandbox; all on 127.0.0.1. `controllers` are the KRaft quorum's, one a broker. */
export interface SandboxPorts {
  readonly brokers: readonly number[];
  readonly controllers: readonly number[];
  readonly postgresPrimary: number;
  readonly postgresReplica: number;
  readonly redis: number;
  readonly bigqueryRest: number;
  readonly bigqueryGrpc: number;
}

export type BigQueryAvailability =
  | { readonly available: true }
  | { readonly available: false; readonly reason: string };

export interface SandboxState {
  readonly version: 1;
  readonly directory: string;
  readonly brokers: BrokerCount;
  readonly kafkaClusterId: string;
  readonly ports: SandboxPorts;
  readonly bigquery: BigQueryAvailability;
  readonly configPath: string | null;
}

/** First ports of each kind; what follows counts up: brokers and then controllers, primary and then replica, REST and then gRPC. */
export interface FixedPorts {
  readonly kafka?: number;
  readonly postgres?: number;
  readonly redis?: number;
  readonly bigquery?: number;
}

export interface SandboxOptions {
  readonly directory: string;
  /** Default: as before, else 3. */
  readonly brokers?: BrokerCount;
  readonly ports?: FixedPorts;
  /** `auto` goes on without the stand-in where it cannot run; `required` fails; `off` leaves it out. */
  readonly bigquery?: 'auto' | 'required' | 'off';
  /** Where kpipe.yaml goes. Default: ./kpipe.yaml when that is absent or the sandbox's own, else the sandbox's directory. */
  readonly configPath?: string;
  readonly workingDirectory: string;
  readonly environment: NodeJS.ProcessEnv;
}

export type SandboxPhase = 'preparing' | 'starting' | 'ready' | 'unavailable' | 'stopping' | 'stopped' | 'waiting';

/** One line of progress. `elapsedMs` is given where something has ended. */
export interface SandboxProgress {
  /** A server's name, a step's such as `postgres-initdb`, or `sandbox`. */
  readonly server: string;
  readonly phase: SandboxPhase;
  readonly detail?: string;
  readonly elapsedMs?: number;
}

export type ReportProgress = (progress: SandboxProgress) => void;

export type ServerState = 'ready' | 'not-ready' | 'stopped' | 'unavailable';

export interface ServerStatus {
  readonly name: ServerName;
  readonly state: ServerState;
  readonly pid: number | null;
  /** `host:port`, the port that clients use. */
  readonly address: string;
  readonly rssBytes: number | null;
  /** Why it is not ready, or what is worth knowing about it. */
  readonly detail: string | null;
  readonly log: string;
}

/** The JSON document of `sandbox status`, and the common part of the others'. */
export interface SandboxStatus {
  readonly directory: string;
  /** `partial`: some servers run, or run and are not ready. */
  readonly state: 'absent' | 'down' | 'partial' | 'up';
  readonly brokers: number | null;
  readonly configPath: string | null;
  readonly servers: readonly ServerStatus[];
}

export interface SandboxUp extends SandboxStatus {
  /** False when everything was already running. */
  readonly started: boolean;
  readonly elapsedMs: number;
}

export interface StoppedServer {
  readonly name: string;
  readonly pid: number;
  readonly how: 'stopped' | 'killed';
  readonly elapsedMs: number;
}

export interface SandboxDown {
  readonly directory: string;
  readonly stopped: readonly StoppedServer[];
}

export interface SandboxReset extends SandboxDown {
  readonly deleted: boolean;
}
