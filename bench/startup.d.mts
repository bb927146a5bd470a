/** CPU of all children that have ended. */
export declare function childCpuMs(): number;

/** Over n interleaved runs: the median wall time and the mean CPU time of each case, in ms. */
export declare function measureStartup<Name extends string>(
  n: number,
  names: readonly Name[],
): Record<Name, { readonly wallMs: number; readonly cpuMs: number }>;
