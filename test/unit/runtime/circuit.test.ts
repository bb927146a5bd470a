import * as fc from 'fast-check';
import { expect, test } from 'vitest';

import { Circuit } from '../../../src/lib/runtime/circuit.ts';

const backoff = { baseMs: 1000, capMs: 30_000 };

test('closed until something fails; then one trial, when it is due', () => {
  const circuit = new Circuit(backoff, () => 1);
  expect(circuit.isClosed).toBe(true);
  expect(circuit.startTrial(0)).toBe(false);
  circuit.failed(0);
  expect(circuit.isClosed).toBe(false);
  expect(circuit.startTrial(999)).toBe(false);
  expect(circuit.startTrial(1000)).toBe(true);
  // The others do not wait for it, and make none of their own.
  expect(circuit.startTrial(1000)).toBe(false);
  circuit.failed(1000);
  expect(circuit.startTrial(2999)).toBe(false);
  expect(circuit.startTrial(3000)).toBe(true);
  circuit.succeeded();
  expect(circuit.isClosed).toBe(true);
});

test('a pause is at least half of its bound, and at most the cap', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 40 }), fc.double({ min: 0, max: 1, noNaN: true }), (failures, random) => {
      const circuit = new Circuit(backoff, () => random);
      for (let count = 0; count < failures; count += 1) {
        circuit.failed(0);
      }
      const bound = Math.min(30_000, 1000 * 2 ** (failures - 1));
      expect(circuit.startTrial(bound / 2 - 1)).toBe(false);
      expect(circuit.startTrial(bound)).toBe(true);
    }),
  );
});
