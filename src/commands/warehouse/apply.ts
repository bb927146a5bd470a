import { Flags } from '@oclif/core';

import { KpipeCommand } from '../../cli/base-command.ts';
import { planLines, warehouseApplyView } from '../../cli/views/warehouse.ts';
import { applyWarehousePlan, drawUpWarehousePlan, type WarehouseApplied } from '../../lib/bigquery/warehouse-tables.ts';
import { required } from '../../lib/roles/environment.ts';

export type WarehouseApplyResult = WarehouseApplied;

export default class WarehouseApply extends KpipeCommand {
  static override summary = 'make dataset, table and view as kpipe.yaml declares them';
  static override description =
    'creates and adds; deletes nothing, and no row. a running role goes on meanwhile, and takes declared columns as soon as the table has them. exits 3 when what is left needs a destructive change, 4 when that is all there is, 5 when only a part was done';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --yes',
    '<%= config.bin %> <%= command.id %> --context prod --confirm prod',
  ];
  static override flags = {
    yes: Flags.boolean({ char: 'y', description: 'do not ask' }),
    confirm: Flags.string({
      helpValue: 'CONTEXT',
      description: 'the name of the protected context, instead of typing it',
    }),
  };

  async run(): Promise<WarehouseApplyResult> {
    const { flags } = await this.parse(WarehouseApply);
    const config = this.configuration(flags);
    const bigquery = required(config.bigquery, 'bigquery', 'analytics');
    const plan = await drawUpWarehousePlan(bigquery);
    if (plan.changes.length > 0) {
      for (const line of planLines(plan)) {
        this.say(line);
      }
      const action = `apply ${plan.changes.length} changes to ${plan.table}`;
      await this.confirm({ action, yes: flags.yes, confirm: flags.confirm, config });
    }
    const applied = await applyWarehousePlan(bigquery, plan);
    return this.show(flags, applied, warehouseApplyView, { exitCode: exitCodeOf(applied) });
  }
}

function exitCodeOf({ done, failed, obstacles }: WarehouseApplied): 0 | 3 | 4 | 5 {
  if (failed !== null) {
    return 5;
  }
  return obstacles.length === 0 ? 0 : done.length === 0 ? 4 : 3;
}
