import ReplayPlanCommand from './plan.ts';

export type { ReplayPlanResult } from './plan.ts';

/** `kpipe replay ROLE` is a plan: whoever forgets the word changes nothing. */
export default class Replay extends ReplayPlanCommand {}
