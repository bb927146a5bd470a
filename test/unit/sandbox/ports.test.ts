import { createServer } from 'node:net';

import { describe, expect, it } from 'vitest';

import { assignPorts, flatPorts, parsePorts, portsFrom, wantedPorts } from '../../../src/lib/sandbox/ports.ts';

describe('parsePorts', () => {
  it('reads names and numbers', () => {
    expect(parsePorts('kafka=39092, redis=36379')).toEqual({ kafka: 39_092, redis: 36_379 });
  });

  it.each(['', 'kafka', 'kafka=', 'kafka=x', 'kafka=0', 'kafka=70000', 'mysql=3306', '__proto__=1', 'kafka=1e3'])(
    'refuses %j',
    (text) => {
      expect(() => parsePorts(text)).toThrow(expect.objectContaining({ code: 'KPIPE_USAGE' }));
    },
  );
});

describe('wantedPorts and portsFrom', () => {
  it('count up from the first: brokers then controllers, primary then replica, REST then gRPC', () => {
    const flat = wantedPorts({ kafka: 100, postgres: 200, redis: 300, bigquery: 400 }, 3);

    expect(portsFrom(flat.map(Number), 3)).toEqual({
      brokers: [100, 101, 102],
      controllers: [103, 104, 105],
      postgresPrimary: 200,
      postgresReplica: 201,
      redis: 300,
      bigqueryRest: 400,
      bigqueryGrpc: 401,
    });
    expect(flatPorts(portsFrom(flat.map(Number), 3))).toEqual(flat);
  });
});

describe('assignPorts', () => {
  it('gives distinct free ports below the range of client ports', async () => {
    const ports = await assignPorts(wantedPorts({}, 3), undefined, []);

    expect(new Set(ports).size).toBe(11);
    expect(ports.every((port) => port >= 20_000 && port < 32_768)).toBe(true);
  });

  it('keeps the ports of last time, except one that is in use now', async () => {
    const before = await assignPorts(wantedPorts({}, 1), undefined, []);
    const occupied = createServer();
    await new Promise<void>((resolve) => {
      occupied.listen(before[0], '127.0.0.1', () => resolve());
    });

    const now = await assignPorts(wantedPorts({}, 1), before, []);

    expect(now.slice(1)).toEqual(before.slice(1));
    expect(now[0]).not.toBe(before[0]);
    const ofRunning = await assignPorts(wantedPorts({}, 1), before, [true]);
    expect(ofRunning).toEqual(before);
    occupied.close();
  });

  it('refuses one port twice', async () => {
    const start = assignPorts(wantedPorts({ postgres: 31_000, redis: 31_001 }, 1), undefined, []);

    await expect(start).rejects.toMatchObject({ code: 'KPIPE_SANDBOX_FAILED' });
  });
});
