/** Settles as the promise does, or rejects with `reason` once the time is over. What the promise does then is ignored. */
export async function withDeadline<Value>(promise: Promise<Value>, deadlineMs: number, reason: string): Promise<Value> {
  let timer: NodeJS.Timeout | undefined;
  const expired = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(
      () => reject(new DeadlineExpired(`${reason} within ${Math.round(deadlineMs / 1000)} s`)),
      deadlineMs,
    );
  });
  try {
    return await Promise.race([promise, expired]);
  } finally {
    clearTimeout(timer);
  }
}

export class DeadlineExpired extends Error {
  override readonly name = 'DeadlineExpired';
}
