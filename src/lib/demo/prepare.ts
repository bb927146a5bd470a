import type { Config } from '../config/load.ts';
import { KpipeError } from '../errors.ts';
import { migrate } from '../postgres/migrate.ts';
import { openPool } from '../postgres/pool.ts';
import type { ClusterAdmin } from '../ports.ts';
import { applyPlan } from '../topics/apply.ts';
import { drawUpPlan } from '../topics/draw-up.ts';
import { begin, type DemoOptions } from './steps.ts';

const defaultLogRetentionMs = 30 * 86_400_000;

/** What `kpipe topics apply` and `kpipe migrate` do. @throws KPIPE_PARTLY_DONE, and what those do */
export async function prepare(config: Config, admin: ClusterAdmin, options: DemoOptions): Promise<void> {
  await applyTopics(config, admin, options);
  await migrateSchema(config, options);
}

async function applyTopics(config: Config, admin: ClusterAdmin, options: DemoOptions): Promise<void> {
  const step = begin(options, 'topics');
  const nowMs = Date.now();
  const plan = await drawUpPlan(admin, { declarations: config, only: [], nowMs });
  if (plan.changes.length > 0) {
    const { failed } = await applyPlan(admin, plan, { nowMs, signal: options.signal });
    const [first] = failed;
    if (first !== undefined) {
      throw new KpipeError('KPIPE_PARTLY_DONE', `topic ${first.change.topic}: ${first.message}`, {
        next: first.next ?? 'kpipe topics plan',
      });
    }
  }
  step.done(plan.changes.length === 0 ? 'as declared' : `${plan.changes.length} changes applied`);
}

async function migrateSchema(config: Config, options: DemoOptions): Promise<void> {
  if (config.postgres === undefined) {
    return;
  }
  const step = begin(options, 'migrate');
  const pool = await openPool(config.postgres, { applicationName: 'kpipe:demo', max: 1 });
  try {
    const made = await migrate(pool, {
      projections: config.roles.events?.projections ?? [],
      logRetentionMs: config.roles.logs?.retention ?? defaultLogRetentionMs,
      nowMs: Date.now(),
      planOnly: false,
    });
    step.done(made.length === 0 ? 'as it should be' : `${made.length} things made`);
  } finally {
    await pool.end();
  }
}
