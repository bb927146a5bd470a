/** How far a server's clock is from this machine's: the server's time against the middle of the question and its answer. */
export interface ClockReading {
  /** Positive: the server is ahead. */
  readonly offsetMs: number;
  /** Half the round trip. */
  readonly uncertaintyMs: number;
}

export function readClock(serverMs: number, askedMs: number, answeredMs: number): ClockReading {
  return { offsetMs: serverMs - (askedMs + answeredMs) / 2, uncertaintyMs: (answeredMs - askedMs) / 2 };
}
