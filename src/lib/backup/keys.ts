import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomBytes,
  sign,
  verify,
  type KeyObject,
} from 'node:crypto';

import type { BackupConfig, BackupKey } from '../config/load.ts';
import { KpipeError } from '../errors.ts';

/**
 * Two keys. The encryption key (32 bytes, hexadecimal or base64) keeps a stolen repository unreadable. The signing key
 * (Ed25519, PEM) keeps entries and reports from being forged; whoever only verifies may hold its public half.
 */
export interface EncryptionKey {
  readonly bytes: Buffer;
  /** The first 8 bytes of a hash of the key: names it without telling it. */
  readonly id: Buffer;
}

export interface SigningKey {
  /** Undefined where only the public key is held. */
  readonly privateKey: KeyObject | undefined;
  readonly publicKey: KeyObject;
  /** 16 hexadecimal digits of the public key's hash. */
  readonly id: string;
}

export interface BackupKeys {
  readonly encryption: EncryptionKey | undefined;
  readonly signing: SigningKey;
}

/** What stands under `signature` in a signed document. */
export interface Signature {
  readonly keyId: string;
  readonly algorithm: 'ed25519';
  readonly value: string;
}

const init = 'kpipe backup init';

/** @throws KPIPE_SECRET_UNAVAILABLE, KPIPE_CONFIG_INVALID */
export function loadKeys(backups: BackupConfig): BackupKeys {
  return {
    encryption: backups.encryption === undefined ? undefined : parseEncryptionKey(reveal(backups.encryption)),
    signing: parseSigningKey(reveal(backups.signing)),
  };
}

function reveal({ key }: BackupKey): string {
  try {
    return key.reveal();
  } catch (error) {
    if (error instanceof KpipeError) {
      throw new KpipeError(error.code, error.message, { next: `${init} makes the keys, once`, cause: error });
    }
    throw error;
  }
}

export function parseEncryptionKey(text: string): EncryptionKey {
  const trimmed = text.trim();
  const bytes = /^[0-9a-fA-F]{64}$/.test(trimmed) ? Buffer.from(trimmed, 'hex') : Buffer.from(trimmed, 'base64');
  if (bytes.length !== 32) {
    throw new KpipeError('KPIPE_CONFIG_INVALID', 'postgres.backups.encryption.key is not 32 bytes in hex or base64', {
      next: `${init} makes one`,
    });
  }
  return { bytes, id: createHash('sha256').update('kpipe backup key id').update(bytes).digest().subarray(0, 8) };
}

export function parseSigningKey(pem: string): SigningKey {
  try {
    const publicKey = createPublicKey(pem);
    if (publicKey.asymmetricKeyType !== 'ed25519') {
      throw new Error(`it is ${publicKey.asymmetricKeyType ?? 'unknown'}, not ed25519`);
    }
    const id = createHash('sha256')
      .update(publicKey.export({ type: 'spki', format: 'der' }))
      .digest('hex');
    const privateKey = pem.includes('PRIVATE KEY') ? createPrivateKey(pem) : undefined;
    return { privateKey, publicKey, id: id.slice(0, 16) };
  } catch (error) {
    throw new KpipeError('KPIPE_CONFIG_INVALID', 'postgres.backups.signing.key is not an Ed25519 key in PEM', {
      next: `${init} makes one`,
      cause: error,
    });
  }
}

export function generateEncryptionKey(): string {
  return randomBytes(32).toString('hex');
}

export function generateSigningKey(): { readonly privatePem: string; readonly publicPem: string } {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  return {
    privatePem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    publicPem: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
  };
}

/** JSON with sorted keys and no spaces: the same document has the same bytes. Undefined members are left out. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) {
    return `[${value.map((item) => canonicalJson(item)).join(',')}]`;
  }
  if (typeof value === 'object' && value !== null) {
    const members = Object.entries(value)
      .filter(([, inner]) => inner !== undefined)
      .toSorted(([left], [right]) => (left < right ? -1 : 1))
      .map(([name, inner]) => `${JSON.stringify(name)}:${canonicalJson(inner)}`);
    return `{${members.join(',')}}`;
  }
  return JSON.stringify(value) ?? 'null';
}

/** The document with its signature. @throws KPIPE_CONFIG_INVALID where only the public key is held */
export function signDocument<T extends object>(document: T, key: SigningKey): T & { readonly signature: Signature } {
  if (key.privateKey === undefined) {
    throw new KpipeError('KPIPE_CONFIG_INVALID', 'postgres.backups.signing.key is a public key: it cannot sign', {
      next: 'name the private key, where backups are made',
    });
  }
  const value = sign(null, Buffer.from(canonicalJson(document)), key.privateKey).toString('base64');
  return { ...document, signature: { keyId: key.id, algorithm: 'ed25519', value } };
}

/** Whether the signature under `signature` is the key's, over all the rest. */
export function hasValidSignature(document: object, key: SigningKey): boolean {
  const { signature, ...rest } = document as { readonly signature?: Partial<Signature> };
  return (
    typeof signature?.value === 'string' &&
    verify(null, Buffer.from(canonicalJson(rest)), key.publicKey, Buffer.from(signature.value, 'base64'))
  );
}
