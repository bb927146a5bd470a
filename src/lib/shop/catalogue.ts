/** What the shop sells, to whom, and in what words its services speak. Data only. */

type NonEmpty<Item> = readonly [Item, ...Item[]];

export interface Product {
  readonly sku: string;
  readonly name: string;
  readonly cents: number;
}

export const products: NonEmpty<Product> = [
  { sku: 'KET-1700', name: 'Electric kettle 1.7 l', cents: 3490 },
  { sku: 'MUG-0350', name: 'Stoneware mug “Fjord”', cents: 1290 },
  { sku: 'LMP-E27W', name: 'Desk lamp E27, walnut', cents: 5900 },
  { sku: 'CHR-0042', name: 'Office chair “Ångström”', cents: 24900 },
  { sku: 'BAG-ROLL', name: 'Roll-top backpack 24 l', cents: 8950 },
  { sku: 'TEA-GEN1', name: '玄米茶 Genmaicha 100 g', cents: 740 },
  { sku: 'COF-YIRG', name: 'Café Yirgacheffe, 1 kg', cents: 2890 },
  { sku: 'KNF-SANT', name: 'Santoku knife 18 cm', cents: 11900 },
  { sku: 'PAN-CI28', name: 'Cast-iron pan 28 cm', cents: 4790 },
  { sku: 'NTB-A5DT', name: 'Notebook A5, dotted', cents: 1650 },
  { sku: 'PLT-MONS', name: 'Monstera 🌿 60 cm', cents: 3200 },
  { sku: 'CBL-USBC', name: 'USB-C cable 2 m', cents: 1199 },
];

export const customerNames: NonEmpty<string> = [
  'Ada Lindqvist',
  'Björn Åkesson',
  'Chiara Esposito',
  'Dmitri Соколов',
  'Élodie Lefèvre',
  'Fatima Al-Masri',
  'Grzegorz Wiśniewski',
  'Hina 田中',
  'Ingrid Müller',
  'João Conceição',
  "Kim O'Neill",
  'Lê Thị Hương',
  'Maria "Mia" Schmidt',
  'Nadia بن علي',
  'Oskar Jäger',
];

export const cities: NonEmpty<readonly [city: string, country: string]> = [
  ['Berlin', 'DE'],
  ['München', 'DE'],
  ['Wien', 'AT'],
  ['Zürich', 'CH'],
  ['Kraków', 'PL'],
  ['Malmö', 'SE'],
  ['Lyon', 'FR'],
  ['Porto', 'PT'],
  ['Bologna', 'IT'],
  ['Gent', 'BE'],
];

export const carriers: NonEmpty<string> = ['dhl', 'dpd', 'ups', 'post.at', 'inpost'];
export const paymentMethods: NonEmpty<string> = ['card', 'paypal', 'sepa', 'klarna', 'invoice'];
export const cancelReasons: NonEmpty<string> = [
  'customer_request',
  'payment_timeout',
  'out_of_stock',
  'fraud_suspected',
];
export const accountEvents: NonEmpty<string> = [
  'customer.registered',
  'customer.address_changed',
  'customer.logged_in',
  'voucher.redeemed',
];

export const routes: NonEmpty<readonly [method: string, path: string, typicalMs: number]> = [
  ['GET', '/api/v2/products?page=3&sort=price', 24],
  ['GET', '/api/v2/products/KET-1700', 9],
  ['POST', '/api/v2/cart/items', 31],
  ['DELETE', '/api/v2/cart/items/2', 18],
  ['POST', '/api/v2/orders', 140],
  ['GET', '/api/v2/orders?status=open', 46],
  ['PUT', '/api/v2/customers/me/address', 38],
  ['POST', '/api/v2/payments/authorize', 310],
  ['GET', '/healthz', 1],
  ['GET', '/api/v2/search?q=caf%C3%A9', 72],
  ['POST', '/api/v2/sessions', 88],
];

export const jobs: NonEmpty<readonly [queue: string, job: string, typicalMs: number]> = [
  ['mail', 'send-order-confirmation', 240],
  ['mail', 'send-shipping-notice', 210],
  ['images', 'resize-product-image', 900],
  ['search', 'reindex-product', 130],
  ['billing', 'render-invoice-pdf', 1400],
  ['billing', 'settle-payments', 3200],
  ['stock', 'sync-warehouse-stock', 640],
  ['gdpr', 'erase-customer', 75],
];

export const pages: NonEmpty<readonly [path: string, title: string]> = [
  ['/', 'Home'],
  ['/kitchen', 'Kitchen'],
  ['/kitchen/kettles', 'Kettles'],
  ['/p/KET-1700', 'Electric kettle 1.7 l'],
  ['/p/CHR-0042', 'Office chair “Ångström”'],
  ['/cart', 'Your cart'],
  ['/checkout', 'Checkout'],
  ['/blog/how-to-brew-filter-coffee', 'How to brew'],
];
export const referrers: NonEmpty<string | null> = [
  null,
  'https://www.google.com/',
  'https://duckduckgo.com/',
  'https://news.ycombinator.com/item?id=1',
  'android-app://com.slack',
];
export const userAgents: NonEmpty<string> = [
  'Mozilla/5.0 (X11; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0',
  'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15',
  'Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Mobile Safari/537.36',
  'curl/8.10.1',
  'partner-sync/3.2 (+https://partner.example/bot)',
];

export interface Failure {
  readonly type: string;
  readonly message: string;
  readonly stack: string;
}

/** Multi-line, as the runtimes print them. */
export const failures: NonEmpty<Failure> = [
  {
    type: 'TypeError',
    message: "Cannot read properties of undefined (reading 'amountCents')",
    stack:
      "TypeError: Cannot read properties of undefined (reading 'amountCents')\n    at totalOf (/app/dist/cart/total.js:41:27)\n" +
      '    at Array.reduce (<anonymous>)\n    at checkout (/app/dist/checkout/service.js:118:31)\n' +
      '    at process.processTicksAndRejections (node:internal/process/task_queues:105:5)\n    at async POST (/app/dist/routes/orders.js:64:18)',
  },
  {
    type: 'PaymentDeclinedError',
    message: 'card declined: insufficient_funds (request req_8fK2)',
    stack:
      'PaymentDeclinedError: card declined: insufficient_funds (request req_8fK2)\n    at PaymentClient.authorize (/app/dist/payments/client.js:203:13)\n' +
      '    at async authorizeOrder (/app/dist/payments/authorize.js:57:22)\n  [cause]: Error: HTTP 402\n      at parse (/app/dist/http/parse.js:19:11)',
  },
  {
    type: 'org.postgresql.util.PSQLException',
    message: 'ERROR: could not serialize access due to concurrent update',
    stack:
      'org.postgresql.util.PSQLException: ERROR: could not serialize access due to concurrent update\n' +
      '\tat org.postgresql.core.v3.QueryExecutorImpl.receiveErrorResponse(QueryExecutorImpl.java:2725)\n' +
      '\tat com.example.shop.stock.StockRepository.reserve(StockRepository.kt:88)\n\t... 41 more\n' +
      'Caused by: java.net.SocketTimeoutException: Read timed out\n\tat java.base/java.net.SocketInputStream.socketRead0(Native Method)',
  },
  {
    type: 'smtplib.SMTPServerDisconnected',
    message: 'Connection unexpectedly closed',
    stack:
      'Traceback (most recent call last):\n  File "/srv/mailer/worker.py", line 92, in run\n    self.send(job.payload["to"], body)\n' +
      '  File "/srv/mailer/smtp.py", line 40, in send\n    self.server.sendmail(FROM, [to], message)\nsmtplib.SMTPServerDisconnected: Connection unexpectedly closed',
  },
];
