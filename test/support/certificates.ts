import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { postgresUser } from '../../src/lib/sandbox/postgres.ts';

/** Certificates of a test's own, by openssl: `NAME.pem` and `NAME.key` in a directory. */
export interface Certificates {
  readonly file: (name: string) => string;
  readonly makeAuthority: (name: string) => void;
  /**
   * A server's certificate for an address (`IP:127.0.0.1`), signed by an authority; its key is the server user's. With a
   * negative number of days it ended so long ago.
   */
  readonly makeCertificate: (
    name: string,
    authority: string,
    address: string,
    validity?: { readonly days: number },
  ) => void;
}

const curve = ['-nodes', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'];

export function certificates(directory: string): Certificates {
  const file = (name: string): string => join(directory, name);
  return {
    file,
    makeAuthority: (name) => {
      const subject = ['-subj', `/CN=${name} of a test`, '-days', '2', ...curve];
      openssl('req', '-x509', ...subject, '-keyout', file(`${name}.key`), '-out', file(`${name}.pem`));
    },
    makeCertificate: (name, authority, address, { days } = { days: 2 }) => {
      const [key, request, extensions] = [`${name}.key`, `${name}.csr`, `${name}.ext`].map((each) => file(each));
      openssl('req', '-new', '-subj', `/CN=${name}`, ...curve, '-keyout', key!, '-out', request!);
      writeFileSync(extensions!, `subjectAltName=${address}\n`);
      const by = [
        '-CA',
        file(`${authority}.pem`),
        '-CAkey',
        file(`${authority}.key`),
        '-CAcreateserial',
        '-days',
        String(days),
      ];
      openssl('x509', '-req', '-in', request!, ...by, '-extfile', extensions!, '-out', file(`${name}.pem`));
      chmodSync(key!, 0o600);
      const user = postgresUser();
      if (user !== undefined) {
        chownSync(key!, user.uid, user.gid);
      }
    },
  };
}

function openssl(...args: readonly string[]): void {
  const done = spawnSync('openssl', args, { encoding: 'utf8', timeout: 30_000 });
  if (done.status !== 0) {
    throw new Error(`openssl ${args.join(' ')}: ${done.stderr}`);
  }
}
