import { readFileSync } from 'node:fs';

import { parser } from '@prometheus-io/lezer-promql';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';

import { renderSamples } from '../../../src/lib/metrics/exposition.ts';
import { createRoleMetrics } from '../../../src/lib/metrics/role-metrics.ts';
import { families } from '../../../src/lib/metrics/families.ts';

/** The dashboard and the alert rules of deploy/, by PromQL's own grammar and by what kpipe really exposes. */

const read = (name: string): string => readFileSync(new URL(`../../../deploy/${name}`, import.meta.url), 'utf8');

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly for?: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}
interface Panel {
  readonly id: number;
  readonly title: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets: readonly { readonly expr: string; readonly legendFormat: string }[];
}
const rules = (parse(read('alerts.yaml')) as { groups: readonly { rules: readonly Rule[] }[] }).groups.flatMap(
  (group) => group.rules,
);
const { panels } = JSON.parse(read('grafana-dashboard.json')) as { readonly panels: readonly Panel[] };
const queries = panels.flatMap(({ title, targets }) =>
  targets.map(({ expr, legendFormat }) => ({ title, expr, legendFormat })),
);

interface Parsed {
  readonly errors: number;
  readonly metrics: readonly string[];
  readonly labels: readonly string[];
}

function parsed(expr: string): Parsed {
  let errors = 0;
  const metrics: string[] = [];
  const labels: string[] = [];
  parser.parse(expr).iterate({
    enter: (node) => {
      const text = expr.slice(node.from, node.to);
      errors += node.type.isError ? 1 : 0;
      if (node.name === 'Identifier' && node.node.parent?.name === 'VectorSelector') {
        metrics.push(text);
      }
      if (node.name === 'LabelName') {
        labels.push(text);
      }
    },
  });
  return { errors, metrics, labels };
}

/** Names of series by their families: a histogram has three. */
async function exposed(): Promise<ReadonlyMap<string, readonly string[]>> {
  const role = await createRoleMetrics('events');
  role.observe({
    state: () => ({
      assigned: 0,
      held: 0,
      isDraining: false,
      failure: null,
      paused: new Map(),
      isBusy: false,
      stillMs: 0,
    }),
    backlog: () => Promise.resolve([]),
  });
  const text = `${(await renderSamples([])).text}\n${(await role.read()).text}`;
  const types = [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)];
  return new Map(
    types.map(([, name = '', type]) => [
      name,
      type === 'histogram' ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name],
    ]),
  );
}

describe('what deploy/ asks for', () => {
  test('the grammar finds mistakes', () => {
    expect(parsed('sum(kpipe_x').errors).toBeGreaterThan(0);
    expect(parsed('sum by (role) (rate(kpipe_x{a="b"}[5m]))')).toEqual({
      errors: 0,
      metrics: ['kpipe_x'],
      labels: ['role', 'a'],
    });
  });

  test.each([...rules.map(({ alert, expr }) => [alert, expr]), ...queries.map(({ title, expr }) => [title, expr])])(
    '%s: is PromQL, of metrics that exist',
    async (_, expr) => {
      const known = new Set([...(await exposed()).values()].flat());
      const { errors, metrics, labels } = parsed(expr ?? '');
      expect(errors).toBe(0);
      expect(metrics.length).toBeGreaterThan(0);
      expect(metrics.filter((name) => !known.has(name))).toEqual([]);
      const declared = new Set([
        'role',
        'code',
        'reason',
        'le',
        ...Object.values(families).flatMap((family) => family.labels),
      ]);
      expect(labels.filter((label) => !declared.has(label))).toEqual([]);
    },
  );

  test('alerts: one of each name, with severity, summary and what to run', () => {
    expect(rules.length).toBeGreaterThan(10);
    expect(new Set(rules.map(({ alert }) => alert)).size).toBe(rules.length);
    for (const { alert, labels, annotations, for: since } of rules) {
      expect(alert).toMatch(/^Kpipe[A-Z][A-Za-z]+$/);
      expect(['warning', 'critical']).toContain(labels['severity']);
      expect(Object.keys(annotations)).toEqual(['summary', 'description']);
      expect(since ?? '1m').toMatch(/^\d+[smh]$/);
    }
  });

  test('labels in texts are labels of the metrics', () => {
    for (const { expr, annotations } of rules) {
      const declared = new Set(
        parsed(expr).metrics.flatMap((name) =>
          name in families ? families[name as keyof typeof families].labels : ['role', 'code', 'reason'],
        ),
      );
      const used = [
        ...Object.values(annotations)
          .join(' ')
          .matchAll(/\$labels\.(\w+)/g),
      ].map(([, label]) => label);
      expect(used.filter((label) => label === undefined || !declared.has(label))).toEqual([]);
    }
  });

  test('the dashboard’s panels have their own place', () => {
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    const places = panels.flatMap(({ gridPos: { x, y, w, h } }) => {
      expect(x + w).toBeLessThanOrEqual(24);
      return Array.from({ length: w * h }, (_, at) => `${x + (at % w)}/${y + Math.floor(at / w)}`);
    });
    expect(new Set(places).size).toBe(places.length);
  });
});
