import type { KafkaConfig } from '../config/load.ts';
import type { KpipeError } from '../errors.ts';
import { KafkaConnections } from './connections.ts';
import { callFailure } from './failures.ts';
import { missingRights } from './missing-rights.ts';

const answerMs = 5000;

/**
 * Why there is no coordinator for a transactional id, where it is for want of a right: kafkajs 2.2.4 keeps to itself what
 * the brokers answered. Null: it is something else.
 */
export async function coordinatorRefusal(config: KafkaConfig, transactionalId: string): Promise<KpipeError | null> {
  const kafka = await KafkaConnections.prepare(config, answerMs);
  const { driver } = kafka;
  const versions = [driver.findCoordinatorV6.api, driver.findCoordinatorV5.api, driver.findCoordinatorV4.api];
  try {
    await kafka.request(await kafka.any(), versions, driver.FindCoordinatorKeyTypes.TRANSACTION, [transactionalId]);
    return null;
  } catch (error) {
    return missingRights(error).length === 0
      ? null
      : callFailure('beginning a transaction', error, { transactionalId });
  } finally {
    await kafka.close();
  }
}
