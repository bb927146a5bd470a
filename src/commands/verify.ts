import { Args, Flags } from '@oclif/core';

import { KpipeCommand } from '../cli/base-command.ts';
import { verifyView } from '../cli/views/verify.ts';
import { roleNames } from '../lib/config/schema.ts';
import type { VerifyResult as Verified } from '../lib/verify/verify.ts';

export type VerifyResult = Verified;

export default class Verify extends KpipeCommand {
  static override summary = 'prove that every record a role has read has had its one effect: exit 3 when it has not';
  static override description = `Offsets against rows, repeats, dead letters, skipped records and gaps, per partition. Changes nothing; the role may run.
Where that does not balance, the records that Kafka still has tell which offsets are concerned.`;
  static override args = {
    role: Args.string({ required: true, options: [...roleNames], description: 'events, logs or analytics' }),
  };
  static override flags = {
    deep: Flags.boolean({
      default: false,
      description: 'hold the content of every row against its record, as far as Kafka still has it',
    }),
  };
  static override examples = [
    '<%= config.bin %> <%= command.id %> events',
    '<%= config.bin %> <%= command.id %> logs --deep --json',
  ];

  async run(): Promise<VerifyResult> {
    const { args, flags } = await this.parse(Verify);
    const role = roleNames.find((name) => name === args.role) ?? 'events';
    const config = this.configuration(flags);
    const { verifyRole } = await import('../lib/verify/verify-role.ts');
    const progress = this.progress(`verify ${role}`);
    const result = await verifyRole(config, role, {
      deep: flags.deep,
      signal: this.interruption(),
      now: Date.now,
      onProgress: (records, note) => progress.update(records, note),
    }).finally(() => progress.end());
    return this.show(flags, result, verifyView, { exitCode: result.balanced ? 0 : 3 });
  }
}
