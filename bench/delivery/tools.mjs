// What the other contenders need, installed once into the cache: Kafka Connect with Debezium's JDBC sink by Maven, and a
// Python with confluent-kafka, psycopg and orjson.
import { spawnSync } from 'node:child_process';
import { existsSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { cacheDirectory, findPython } from '../../dist/lib/sandbox/tools.js';

const cache = cacheDirectory(process.env);
const pom = fileURLToPath(new URL('pom.xml', import.meta.url));
const pythonPackages = ['confluent-kafka==2.11.1', 'psycopg[binary]==3.3.9', 'orjson==3.13.0'];

function run(command, args) {
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8' });
  if (status !== 0) {
    throw new Error(`${command} ${args.join(' ')}: ${`${stdout}${stderr}`.slice(-1500)}`);
  }
}

/** Installs into a folder beside, so that what is there is whole. */
function once(directory, install) {
  if (!existsSync(directory)) {
    const fresh = `${directory}.new`;
    rmSync(fresh, { recursive: true, force: true });
    install(fresh);
    renameSync(fresh, directory);
  }
  return directory;
}

/** The folder of jars. */
export function connectJars() {
  const directory = once(join(cache, 'bench-connect-3.5.0'), (fresh) =>
    run('mvn', [
      '-q',
      '-f',
      pom,
      'dependency:copy-dependencies',
      '-DincludeScope=runtime',
      `-DoutputDirectory=${fresh}`,
    ]),
  );
  return join(directory, '*');
}

/** The interpreter. A virtual environment keeps the path that it was made at, so this one is made in place. */
export function python() {
  const directory = join(cache, 'bench-python-1');
  const interpreter = join(directory, 'bin', 'python');
  if (!existsSync(join(directory, 'complete'))) {
    rmSync(directory, { recursive: true, force: true });
    run(findPython(process.env) ?? 'python3', ['-m', 'venv', directory]);
    run(interpreter, ['-m', 'pip', '-q', 'install', ...pythonPackages]);
    run('touch', [join(directory, 'complete')]);
  }
  return interpreter;
}
