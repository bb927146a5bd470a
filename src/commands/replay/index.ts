import type { ReplayPlan } from '../../lib/replay/replay-plan.ts';
import ReplayPlanCommand from './plan.ts';

export type ReplayResult = ReplayPlan;

/** `kpipe replay ROLE` is a plan: whoever forgets the word changes nothing. */
export default class Replay extends ReplayPlanCommand {
  override run(): Promise<ReplayResult> {
    return super.run();
  }
}
