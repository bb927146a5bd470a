import { KpipeCommand } from '../../cli/base-command.ts';
import { warehousePlanView } from '../../cli/views/warehouse.ts';
import type { WarehousePlan } from '../../lib/bigquery/warehouse-plan.ts';
import { drawUpWarehousePlan } from '../../lib/bigquery/warehouse-tables.ts';
import { required } from '../../lib/roles/environment.ts';

export type WarehousePlanResult = WarehousePlan;

export default class WarehousePlanCommand extends KpipeCommand {
  static override summary = 'show what would change so that BigQuery is as kpipe.yaml declares it';
  static override description =
    'only looks. exits 0 in sync, 3 on drift; what only a destructive change would mend is named apart, and never planned';
  static override examples = ['<%= config.bin %> <%= command.id %>', '<%= config.bin %> <%= command.id %> --json'];

  async run(): Promise<WarehousePlanResult> {
    const { flags } = await this.parse(WarehousePlanCommand);
    const { bigquery } = this.configuration(flags);
    const plan = await drawUpWarehousePlan(required(bigquery, 'bigquery', 'analytics'));
    const isInSync = plan.changes.length + plan.obstacles.length === 0;
    return this.show(flags, plan, warehousePlanView, { exitCode: isInSync ? 0 : 3 });
  }
}
