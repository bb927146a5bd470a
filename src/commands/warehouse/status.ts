import { KpipeCommand } from '../../cli/base-command.ts';
import { warehouseStatusView } from '../../cli/views/warehouse.ts';
import { warehouseStatus, type WarehouseStatus } from '../../lib/bigquery/warehouse-status.ts';
import { required } from '../../lib/roles/environment.ts';

export type WarehouseStatusResult = WarehouseStatus;

export default class WarehouseStatusCommand extends KpipeCommand {
  static override summary = 'show what is in BigQuery, what came in a day and what that costs';
  static override description =
    'costs are estimates by list prices, without free tiers. exits 3 when the table is not as kpipe.yaml declares it';
  static override examples = ['<%= config.bin %> <%= command.id %>', '<%= config.bin %> <%= command.id %> --json'];

  async run(): Promise<WarehouseStatusResult> {
    const { flags } = await this.parse(WarehouseStatusCommand);
    const { bigquery } = this.configuration(flags);
    const status = await warehouseStatus(required(bigquery, 'bigquery', 'analytics'), Date.now());
    const isInSync = status.changes.length + status.obstacles.length === 0;
    return this.show(flags, status, warehouseStatusView, { exitCode: isInSync ? 0 : 3 });
  }
}
