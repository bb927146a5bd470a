import { formatSize } from '../../lib/config/units.ts';
import {
  days,
  type WarehouseChange,
  type WarehouseObstacle,
  type WarehousePlan,
} from '../../lib/bigquery/warehouse-plan.ts';
import type { WarehouseStatus } from '../../lib/bigquery/warehouse-status.ts';
import type { WarehouseApplied } from '../../lib/bigquery/warehouse-tables.ts';
import type { View } from '../base-command.ts';
import { bad, dim, ok, strong, warn, type Line } from '../output/text.ts';

/** Screens of `kpipe warehouse …`. */

export function planLines({ table, changes, obstacles }: WarehousePlan): readonly Line[] {
  const counted = obstacles.length === 0 ? '' : `, ${obstacles.length} that no additive change mends`;
  return [
    strong(table),
    ...changes.map((change): Line => [warn(change.kind.startsWith('create') ? '+ ' : '~ '), changeText(change)]),
    ...obstacles.map(obstacleLine),
    changes.length + obstacles.length === 0 ? ok('in sync') : `${changes.length} changes${counted}`,
  ];
}

export function warehousePlanView(plan: WarehousePlan, view: View): string {
  return planLines(plan).map(view.line).join('\n');
}

export function warehouseApplyView({ done, failed, notDone, obstacles }: WarehouseApplied, view: View): string {
  const lines: readonly Line[] = [
    ...done.map((change): Line => [ok('✓ '), changeText(change)]),
    ...(failed === null ? [] : [[bad('✗ '), changeText(failed.change), ': ', failed.reason]]),
    ...notDone.map((change): Line => [dim('· '), changeText(change), dim(' not tried')]),
    ...obstacles.map(obstacleLine),
    ...(done.length + obstacles.length === 0 && failed === null ? [ok('in sync, nothing to do')] : []),
  ];
  return lines.map(view.line).join('\n');
}

export function warehouseStatusView(status: WarehouseStatus, view: View): string {
  const { lastDay, rows, bytes } = status;
  const cells: readonly (readonly [string, string])[] = [
    ['table', `${status.table} at ${status.endpoint}`],
    ['view', status.view],
    [
      'write',
      status.loadJobsPerDay === null
        ? status.write
        : `${status.write}, up to ${status.loadJobsPerDay} of 1,500 jobs a day`,
    ],
    ['rows', status.exists ? count(rows) : 'no table'],
    ['bytes', size(bytes)],
    [
      'last 24 h',
      lastDay === null ? '?' : `${count(lastDay.rows)} rows, ${count(lastDay.events)} events, ${size(lastDay.bytes)}`,
    ],
    [
      'cost of it',
      lastDay === null
        ? '?'
        : `${dollars(lastDay.writeDollars)} writing, ${dollars(lastDay.storedDollarsPerDay)} storing, estimated`,
    ],
  ];
  const drift: readonly Line[] = [
    ...status.changes.map((change): Line => [warn('~ '), changeText(change), dim(' (kpipe warehouse apply)')]),
    ...status.obstacles.map(obstacleLine),
  ];
  return [...cells.map(([name, value]): Line => [dim(name.padEnd(12)), value]), ...drift].map(view.line).join('\n');
}

function changeText(change: WarehouseChange): string {
  switch (change.kind) {
    case 'create-dataset':
      return `dataset ${change.dataset}${change.location === null ? '' : ` in ${change.location}`}`;
    case 'create-table':
      return `table ${change.table}, by day on time, clustered by type, source, expiry ${days(change.expiryMs)}`;
    case 'add-column':
      return `column ${change.column} ${change.type}`;
    case 'set-expiry':
      return `partitions expire after ${days(change.fromMs)} → ${days(change.toMs)}`;
    case 'set-clustering':
      return `clustered by ${change.from.join(', ') || 'nothing'} → ${change.to.join(', ')}`;
    case 'require-partition-filter':
      return 'queries have to bound time';
    case 'create-view':
      return `view ${change.view}, unique by source and id`;
    case 'replace-view':
      return `view ${change.view}, its query`;
  }
}

function obstacleLine({ what, next }: WarehouseObstacle): Line {
  return [bad('! '), what, dim(` (${next})`)];
}

function count(value: number | null): string {
  return value === null ? '?' : value.toLocaleString('en-US');
}

function size(bytes: number | null): string {
  return bytes === null ? '?' : formatSize(bytes);
}

function dollars(value: number | null): string {
  return value === null ? '?' : `$${value.toFixed(value < 1 ? 4 : 2)}`;
}
