import { cancelReasons, carriers, cities, customerNames, paymentMethods, products } from './catalogue.ts';
import type { Random } from './random.ts';
import type { OrderState, OrderStatus } from './types.ts';

/** An order's next event, with the whole state that it is in then. */
export interface OrderEvent {
  readonly type: string;
  /** JSON text. */
  readonly data: string;
  readonly order: OrderState;
}

interface Order {
  readonly orderId: string;
  readonly customerId: string;
  readonly amountCents: number;
  /** JSON text of the members that never change, and of those that its life has added: `"name":value,…`. */
  readonly fixed: string;
  status: OrderStatus;
  progress: string;
  version: number;
}

/** How many orders are under way at a time: an order's events lie apart, other orders' between them. */
const openOrders = 400;

/**
 * Orders and their life cycles: created → paid → packed → shipped → delivered; some are cancelled before they are packed
 * or refunded after delivery, and some of those are deleted later. Events of one order come in the order of its life.
 */
export class OrderBook {
  readonly #random: Random;
  readonly #tag: string;
  readonly #open: Order[] = [];
  #placed = 0;

  /** `tag` begins every order's and customer's id. */
  constructor(random: Random, tag: string) {
    this.#random = random;
    this.#tag = tag;
  }

  next(): OrderEvent {
    const random = this.#random;
    if (random.chance(this.#open.length < openOrders ? 0.3 : 0.02)) {
      return this.#place();
    }
    const index = random.below(this.#open.length);
    const order = this.#open[index];
    if (order === undefined) {
      return this.#place();
    }
    const type = this.#advance(order);
    if (type === undefined) {
      this.#close(index);
      return this.#place();
    }
    if (type === 'order.deleted') {
      this.#close(index);
    }
    return eventOf(order, type);
  }

  #place(): OrderEvent {
    const random = this.#random;
    this.#placed += 1;
    const number = this.#placed.toString(36).padStart(5, '0');
    const items = Array.from({ length: 1 + random.below(3) }, () => {
      const product = random.pick(products);
      return { sku: product.sku, name: product.name, quantity: 1 + random.below(3), unitCents: product.cents };
    });
    const [city, country] = random.pick(cities);
    const customerName = random.pick(customerNames);
    const fixed = { currency: 'EUR', items, customerName, shipTo: { city, country }, gift: random.chance(0.1) };
    const order: Order = {
      orderId: `ord-${this.#tag}-${number}`,
      customerId: `cus-${this.#tag}-${random.below(5000).toString(36)}`,
      amountCents: items.reduce((sum, item) => sum + item.quantity * item.unitCents, 0),
      fixed: members(fixed),
      status: 'created',
      progress: '',
      version: 1,
    };
    this.#open.push(order);
    return eventOf(order, 'order.created');
  }

  /** Takes the order one step on and names the event; undefined when its life is over. */
  #advance(order: Order): string | undefined {
    const random = this.#random;
    const step = (status: OrderStatus, progress: object): string => {
      order.status = status;
      order.progress += members(progress);
      order.version += 1;
      return `order.${status}`;
    };
    switch (order.status) {
      case 'created':
      case 'paid':
        if (random.chance(0.06)) {
          return step('cancelled', { cancelReason: random.pick(cancelReasons) });
        }
        return order.status === 'created'
          ? step('paid', { paymentMethod: random.pick(paymentMethods) })
          : step('packed', { warehouse: random.pick(['BER1', 'WRO2', 'LYS1']) });
      case 'packed':
        return step('shipped', { carrier: random.pick(carriers), trackingNumber: `00${random.hex(16)}` });
      case 'shipped':
        return step('delivered', {});
      case 'delivered':
        return random.chance(0.08) ? step('refunded', { refundedCents: order.amountCents }) : undefined;
      case 'cancelled':
      case 'refunded':
        return random.chance(0.5) ? 'order.deleted' : undefined;
    }
  }

  #close(index: number): void {
    const last = this.#open.pop();
    if (last !== undefined && index < this.#open.length) {
      this.#open[index] = last;
    }
  }
}

function eventOf(
  { orderId, customerId, amountCents, fixed, status, progress, version }: Order,
  type: string,
): OrderEvent {
  return {
    type,
    data: `{"orderId":"${orderId}","status":"${status}","amountCents":${amountCents},"customerId":"${customerId}",${fixed}${progress}"version":${version}}`,
    order: { orderId, status, amountCents, customerId, deleted: type === 'order.deleted' },
  };
}

/** `"name":value,…,` of an object: an order's state is written often and changes little. */
function members(object: object): string {
  const text = JSON.stringify(object);
  return text === '{}' ? '' : `${text.slice(1, -1)},`;
}
