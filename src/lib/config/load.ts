import { existsSync, readFileSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';

import { LineCounter, parseDocument, visit, type Document } from 'yaml';

import { KpipeError, messageOf } from '../errors.ts';
import { invalidConfig } from './issues.ts';
import { isObject } from './plain-object.ts';
import { configSchema, type ConfigDocument } from './schema.ts';
import { isReference, resolveReferences, Secret, type ReferenceScope } from './secrets.ts';

/** Everything that a command needs of kpipe.yaml: validated, with a context laid over it, secrets still sealed. */
export interface Config extends Omit<ConfigDocument, 'kafka' | 'postgres' | 'redis'> {
  /** The absolute path of the file. */
  readonly file: string;
  readonly context: string | null;
  readonly kafka: KafkaConfig;
  readonly postgres: PostgresConfig | undefined;
  readonly redis: RedisConfig | undefined;
}
export type KafkaConfig = Omit<ConfigDocument['kafka'], 'sasl'> & {
  /** The directory that the paths in `tls` are relative to. */
  readonly directory: string;
  readonly sasl:
    | {
        readonly mechanism: 'plain' | 'scram-sha-256' | 'scram-sha-512';
        readonly username: string;
        readonly password: Secret;
      }
    | { readonly mechanism: 'oauthbearer'; readonly token: Secret }
    | undefined;
};
type PostgresDocument = NonNullable<ConfigDocument['postgres']>;
/** A key of the backups. `reference` is how the file names it (`${file:…}`); null where it stands there itself. */
export interface BackupKey {
  readonly key: Secret;
  readonly reference: string | null;
}
type BackupsDocument = NonNullable<PostgresDocument['backups']>;
/** How an s3:// repository is reached. */
export type S3Access = Omit<BackupsDocument['s3'], 'accessKeyId' | 'secretAccessKey' | 'sessionToken'> & {
  /** Undefined: AWS's own chain. */
  readonly credentials:
    | { readonly accessKeyId: string; readonly secretAccessKey: Secret; readonly sessionToken: Secret | undefined }
    | undefined;
};
export type BackupConfig = Omit<BackupsDocument, 'encryption' | 'signing' | 's3'> & {
  readonly s3: S3Access;
  /** The directory that relative paths start from. */
  readonly directory: string;
  readonly encryption: BackupKey | undefined;
  readonly signing: BackupKey;
};
export type PostgresConfig = Omit<PostgresDocument, 'primary' | 'replicas' | 'backups'> & {
  readonly backups: BackupConfig | undefined;
  readonly primary: Secret;
  readonly replicas: readonly { readonly name: string; readonly url: Secret; readonly maxLag: number }[];
};
export type RedisConfig = Omit<NonNullable<ConfigDocument['redis']>, 'url'> & { readonly url: Secret };

export interface ConfigLocation {
  /** `--config`, or `$KPIPE_CONFIG`. */
  readonly file?: string | undefined;
  /** `--context`, `$KPIPE_CONTEXT` or the one kept by `kpipe context use`. */
  readonly context?: string | undefined;
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** The file that would be read: the one named, else ./kpipe.yaml, else the one in the XDG config directory. */
export function findConfigFile(location: ConfigLocation): string {
  if (location.file !== undefined) {
    const named = resolve(location.cwd, location.file);
    if (!existsSync(named)) {
      throw new KpipeError('KPIPE_CONFIG_NOT_FOUND', `there is no ${named}`, { next: 'kpipe init writes one' });
    }
    return named;
  }
  const configHome = location.env['XDG_CONFIG_HOME'] ?? join(location.env['HOME'] ?? homedir(), '.config');
  const candidates = [join(location.cwd, 'kpipe.yaml'), join(configHome, 'kpipe', 'kpipe.yaml')];
  const found = candidates.find((candidate) => existsSync(candidate));
  if (found === undefined) {
    throw new KpipeError('KPIPE_CONFIG_NOT_FOUND', `no configuration: looked for ${candidates.join(' and ')}`, {
      next: '`kpipe init` writes one, `kpipe sandbox up` starts servers and writes one, or name it with --config',
    });
  }
  return found;
}

/** Reads, overlays and checks kpipe.yaml. @throws KPIPE_CONFIG_… with file, line and the nearest valid name */
export function loadConfig(location: ConfigLocation): Config {
  const file = findConfigFile(location);
  return parseConfig(readConfigFile(file), file, location.env, location.context);
}

function readConfigFile(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new KpipeError('KPIPE_CONFIG_INVALID', `${file} cannot be read: ${messageOf(error)}`, {
      next: 'name a file that this user may read with --config',
      cause: error,
    });
  }
}

export function parseConfig(text: string, file: string, env: ConfigLocation['env'], contextName?: string): Config {
  const lines = new LineCounter();
  const yaml = parseDocument(text, { lineCounter: lines, uniqueKeys: true });
  const problem = yaml.errors[0];
  if (problem !== undefined) {
    const { line, col } = lines.linePos(problem.pos[0]);
    const what = problem.message.split(' at line')[0] ?? problem.message;
    throw new KpipeError('KPIPE_CONFIG_INVALID', `${file}:${line}:${col}: not YAML: ${what}`, {
      next: 'mend that line',
    });
  }
  const scope: ReferenceScope = { directory: dirname(file), env };
  keepLongIntegers(yaml);
  const raw = plainOf(yaml, file);
  const document = resolvePlainReferences(overlay(raw, contextName, file), [], scope);
  const parsed = configSchema.safeParse(document, { reportInput: true });
  if (!parsed.success) {
    throw invalidConfig(parsed.error.issues, { file, yaml, lines, contextName });
  }
  refuseReadableSecrets(raw, file);
  return seal(parsed.data, file, contextName ?? null, scope);
}

/** The document's value; aliases are followed, as far as they end. */
function plainOf(yaml: Document, file: string): unknown {
  try {
    const raw: unknown = yaml.toJS({ maxAliasCount: 100 });
    // What contains itself has no end for anyone who reads it.
    JSON.stringify(raw);
    return raw;
  } catch (error) {
    throw new KpipeError('KPIPE_CONFIG_INVALID', `${file}: an alias (*) leads back to itself or is used too often`, {
      next: 'write the values out',
      cause: error,
    });
  }
}

/** Kafka's longs, such as flush.messages: 9223372036854775807, stay the digits that they are: no double holds them. */
function keepLongIntegers(yaml: Document): void {
  visit(yaml, {
    Scalar: (_, node) => {
      const { source, value } = node;
      if (
        typeof value === 'number' &&
        !Number.isSafeInteger(value) &&
        source !== undefined &&
        /^[-+]?\d+$/.test(source)
      ) {
        node.value = source;
      }
    },
  });
}

/** Lays a context over the file: objects are merged, lists and scalars replaced. */
function overlay(raw: unknown, contextName: string | undefined, file: string): unknown {
  if (contextName === undefined || !isObject(raw)) {
    return raw;
  }
  const contexts = isObject(raw['contexts']) ? raw['contexts'] : {};
  const chosen = Object.hasOwn(contexts, contextName) ? contexts[contextName] : undefined;
  if (!isObject(chosen)) {
    const names = Object.keys(contexts);
    throw new KpipeError('KPIPE_CONTEXT_UNKNOWN', `${file} has no context ${contextName}`, {
      next: names.length === 0 ? 'it declares none: add contexts: to it' : `it has: ${names.join(', ')}`,
    });
  }
  return merge(raw, chosen);
}

function merge(base: unknown, over: unknown): unknown {
  if (!isObject(base) || !isObject(over)) {
    return over;
  }
  const merged: Record<string, unknown> = { ...base };
  for (const [key, value] of Object.entries(over)) {
    merged[key] = Object.hasOwn(base, key) ? merge(base[key], value) : value;
  }
  return merged;
}

/** The values that stay sealed until they are needed. `*` stands for a list's index. */
const sealedPaths = new Set([
  'kafka.sasl.password',
  'kafka.sasl.token',
  'postgres.primary',
  'postgres.replicas.*.url',
  'postgres.backups.encryption.key',
  'postgres.backups.signing.key',
  'postgres.backups.s3.secretAccessKey',
  'postgres.backups.s3.sessionToken',
  'redis.url',
]);

/** Resolves references outside secrets (`brokers: ['${env:BROKERS}']`); leaves the other contexts alone. */
function resolvePlainReferences(value: unknown, path: readonly string[], scope: ReferenceScope): unknown {
  if (typeof value === 'string') {
    return sealedPaths.has(path.join('.')) ? value : resolveReferences(value, scope);
  }
  if (Array.isArray(value)) {
    return value.map((item) => resolvePlainReferences(item, [...path, '*'], scope));
  }
  if (!isObject(value) || (path.length === 1 && path[0] === 'contexts')) {
    return value;
  }
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [key, resolvePlainReferences(inner, [...path, key], scope)]),
  );
}

/** A literal secret in a file that others can read is refused, as ssh does with keys; in any of its contexts. */
function refuseReadableSecrets(raw: unknown, file: string): void {
  const holder = sealedValues(raw, [])
    .find(({ text }) => isLiteralSecret(text))
    ?.path.join('.');
  if (holder === undefined || !existsSync(file)) {
    return;
  }
  const mode = statSync(file).mode & 0o077;
  if (mode !== 0) {
    throw new KpipeError('KPIPE_CONFIG_UNSAFE', `${file} holds a literal secret (${holder}) and others can read it`, {
      next: `chmod 600 ${file}, or write \${env:NAME} or \${file:/path} in its place`,
    });
  }
}

interface SealedValue {
  readonly path: readonly string[];
  readonly text: string;
}

function sealedValues(value: unknown, path: readonly string[]): readonly SealedValue[] {
  if (typeof value === 'string') {
    const inContext = path[0] === 'contexts' ? path.slice(2) : path;
    const pattern = inContext.map((part) => (/^\d+$/.test(part) ? '*' : part)).join('.');
    return sealedPaths.has(pattern) ? [{ path, text: value }] : [];
  }
  return typeof value === 'object' && value !== null
    ? Object.entries(value).flatMap(([key, inner]) => sealedValues(inner, [...path, key]))
    : [];
}

/** A URL is secret for the password in it. */
function isLiteralSecret(text: string): boolean {
  return /^[a-z]+:\/\//.test(text) ? hasLiteralPassword(text) : !isReference(text);
}

function hasLiteralPassword(url: string): boolean {
  const password = /^[a-z]+:\/\/[^:@/]*:(.+)@[^@]*$/.exec(url)?.[1];
  return password !== undefined && !isReference(password);
}

function seal(document: ConfigDocument, file: string, context: string | null, scope: ReferenceScope): Config {
  const secret = (text: string): Secret => new Secret(text, scope);
  const { kafka, postgres, redis, ...rest } = document;
  const { sasl, ...kafkaRest } = kafka;
  return {
    ...rest,
    file,
    context,
    kafka: {
      ...kafkaRest,
      directory: scope.directory,
      sasl:
        sasl === undefined
          ? undefined
          : 'password' in sasl
            ? { ...sasl, password: secret(sasl.password) }
            : { ...sasl, token: secret(sasl.token) },
    },
    postgres:
      postgres === undefined
        ? undefined
        : {
            ...postgres,
            backups: postgres.backups === undefined ? undefined : sealBackups(postgres.backups, scope),
            primary: secret(postgres.primary),
            replicas: postgres.replicas.map((replica) => ({ ...replica, url: secret(replica.url) })),
          },
    redis: redis === undefined ? undefined : { ...redis, url: secret(redis.url) },
  };
}

function sealS3(document: BackupsDocument['s3'], scope: ReferenceScope): S3Access {
  const { accessKeyId, secretAccessKey, sessionToken, ...rest } = document;
  if (accessKeyId === undefined || secretAccessKey === undefined) {
    return { ...rest, credentials: undefined };
  }
  const token = sessionToken === undefined ? undefined : new Secret(sessionToken, scope);
  return {
    ...rest,
    credentials: { accessKeyId, secretAccessKey: new Secret(secretAccessKey, scope), sessionToken: token },
  };
}

function sealBackups(backups: BackupsDocument, scope: ReferenceScope): BackupConfig {
  const key = (text: string): BackupKey => ({
    key: new Secret(text, scope),
    reference: isReference(text) ? text : null,
  });
  const { encryption, signing, s3, ...rest } = backups;
  return {
    ...rest,
    directory: scope.directory,
    s3: sealS3(s3, scope),
    encryption: encryption === undefined ? undefined : key(encryption.key),
    signing: key(signing.key),
  };
}
