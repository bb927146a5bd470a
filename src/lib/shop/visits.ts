import { pages, products, referrers, userAgents } from './catalogue.ts';
import type { Random } from './random.ts';

export interface VisitEvent {
  readonly type: string;
  readonly visitorId: string;
  /** JSON text. */
  readonly data: string;
}

interface Visit {
  readonly visitorId: string;
  readonly sessionId: string;
  readonly startedMs: number;
  readonly userAgent: string;
  views: number;
  cartCents: number;
}

const openVisits = 300;

/** Visitors who look around the shop: sessions begin, pages are viewed, carts change, sessions end. */
export class Visitors {
  readonly #random: Random;
  readonly #tag: string;
  readonly #open: Visit[] = [];
  #arrived = 0;

  constructor(random: Random, tag: string) {
    this.#random = random;
    this.#tag = tag;
  }

  next(timeMs: number): VisitEvent {
    const random = this.#random;
    const index = random.below(openVisits);
    const visit = this.#open[index];
    if (visit === undefined) {
      return this.#arrive(timeMs);
    }
    const { visitorId, sessionId } = visit;
    const fate = random.below(100);
    if (fate < 8) {
      this.#open.splice(index, 1);
      const durationMs = timeMs - visit.startedMs;
      return {
        type: 'session.ended',
        visitorId,
        data: JSON.stringify({ visitorId, sessionId, views: visit.views, cartCents: visit.cartCents, durationMs }),
      };
    }
    if (fate < 24) {
      const { sku, cents } = random.pick(products);
      const quantity = 1 + random.below(3);
      visit.cartCents += cents * quantity;
      return {
        type: 'cart.updated',
        visitorId,
        data: JSON.stringify({ visitorId, sessionId, sku, quantity, cartCents: visit.cartCents }),
      };
    }
    const [path, title] = random.pick(pages);
    visit.views += 1;
    const seconds = Math.round(random.below(90_000) / 10) / 100;
    return {
      type: 'page_view',
      visitorId,
      data: JSON.stringify({ visitorId, sessionId, path, title, seconds, userAgent: visit.userAgent }),
    };
  }

  #arrive(timeMs: number): VisitEvent {
    const random = this.#random;
    this.#arrived += 1;
    const visitorId = `vis-${this.#tag}-${random.below(20_000).toString(36)}`;
    const sessionId = `ses-${this.#tag}-${this.#arrived.toString(36)}`;
    const userAgent = random.pick(userAgents);
    this.#open.push({ visitorId, sessionId, startedMs: timeMs, userAgent, views: 0, cartCents: 0 });
    return {
      type: 'session.started',
      visitorId,
      data: JSON.stringify({ visitorId, sessionId, referrer: random.pick(referrers), userAgent }),
    };
  }
}
