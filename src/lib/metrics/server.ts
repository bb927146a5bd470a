import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';

import { codeOf, KpipeError, messageOf } from '../errors.ts';
import type { Verdict } from '../runtime/run-state.ts';

export interface HealthRoutes {
  readonly live: () => Verdict;
  readonly ready: () => Promise<Verdict>;
  readonly metrics: () => Promise<{ readonly contentType: string; readonly text: string }>;
}

export interface HealthServer {
  /** `http://127.0.0.1:9464`, with the port that was taken. */
  readonly url: string;
  close(): Promise<void>;
}

interface Answer {
  readonly status: number;
  readonly contentType: string;
  readonly text: string;
}

const plainText = 'text/plain; charset=utf-8';

/**
 * Serves /livez, /readyz and /metrics: 200 or 503, with a line for each reason. Port 0 takes a free one.
 * @throws KPIPE_USAGE when the address cannot be had
 */
export async function startHealthServer(host: string, port: number, routes: HealthRoutes): Promise<HealthServer> {
  const server = createServer(
    { requestTimeout: 10_000, headersTimeout: 5000, keepAliveTimeout: 5000 },
    (request, response) => void respond(request, response, routes),
  );
  // A supervisor that asks is no reason to stay.
  server.unref();
  try {
    server.listen(port, host);
    await once(server, 'listening');
  } catch (error) {
    const why = codeOf(error) === 'EADDRINUSE' ? 'something else listens there' : messageOf(error);
    throw new KpipeError('KPIPE_USAGE', `no metrics on ${host}:${port}: ${why}`, {
      next: 'choose another port (0 takes a free one) or address',
      cause: error,
    });
  }
  const address = server.address();
  const taken = typeof address === 'object' && address !== null ? address.port : port;
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${taken}`,
    close: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

async function respond(request: IncomingMessage, response: ServerResponse, routes: HealthRoutes): Promise<void> {
  const { status, contentType, text } = await answer(request, routes).catch((error: unknown) => ({
    status: 500,
    contentType: plainText,
    text: `${messageOf(error)}\n`,
  }));
  response.writeHead(status, { 'content-type': contentType, 'cache-control': 'no-store' });
  response.end(request.method === 'HEAD' ? undefined : text);
}

async function answer({ method, url = '/' }: IncomingMessage, routes: HealthRoutes): Promise<Answer> {
  if (method !== 'GET' && method !== 'HEAD') {
    return { status: 405, contentType: plainText, text: 'GET or HEAD\n' };
  }
  switch (url.split('?', 1)[0]) {
    case '/livez':
      return judged(routes.live());
    case '/readyz':
      return judged(await routes.ready());
    case '/metrics':
      return { status: 200, ...(await routes.metrics()) };
    default:
      return { status: 404, contentType: plainText, text: '/livez, /readyz and /metrics\n' };
  }
}

function judged({ ok, reasons }: Verdict): Answer {
  return { status: ok ? 200 : 503, contentType: plainText, text: `${ok ? 'ok' : reasons.join('\n')}\n` };
}
