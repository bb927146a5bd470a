/** An error and everything that it wraps, outermost first. Drivers wrap what happened, each in its own way. */
export function causes(error: unknown): readonly unknown[] {
  return causesTo(error, 12);
}

function causesTo(error: unknown, depth: number): readonly unknown[] {
  if (!(error instanceof Error) || depth === 0) {
    return [error];
  }
  const inner: readonly unknown[] = error instanceof AggregateError ? error.errors : [];
  const wrapped = error.cause === undefined || error.cause === null ? [] : [error.cause];
  return [error, ...[...inner, ...wrapped].flatMap((cause) => causesTo(cause, depth - 1))];
}

export function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
}

export function textField(error: unknown, name: string): string | undefined {
  const value = field(error, name);
  return typeof value === 'string' ? value : undefined;
}
