import { fetchV12 as v12, fetchV13 as v13, fetchV16 as v16, fetchV17 as v17 } from '@platformatic/kafka';

/**
 * What kpipe uses of @platformatic/kafka: connections and single requests. The package as a whole takes half a second of CPU
 * to load (535 modules, and 48 option schemas that it compiles for clients which kpipe does not use). The build puts
 * only what is named here, and what that needs, into this one file (scripts/build.mjs, docs/adr/0010).
 */
export {
  ConfigResourceTypes,
  Connection,
  FindCoordinatorKeyTypes,
  IncrementalAlterConfigOperationTypes,
  Reader,
  ResponseError,
  Writer,
  alterPartitionReassignmentsV0,
  alterPartitionReassignmentsV1,
  apiVersionsV3,
  consumerGroupDescribeV0,
  consumerGroupHeartbeatV1,
  createAPI,
  createPartitionsV2,
  createPartitionsV3,
  createTopicsV5,
  createTopicsV6,
  createTopicsV7,
  decodeConsumerProtocolAssignment,
  decodeConsumerProtocolSubscription,
  decodeCooperativeStickyGeneration,
  deleteGroupsV1,
  deleteGroupsV2,
  deleteRecordsV1,
  deleteRecordsV2,
  deleteTopicsV6,
  describeConfigsV3,
  describeConfigsV4,
  describeGroupsV5,
  describeLogDirsV3,
  describeLogDirsV4,
  describeQuorumV1,
  describeQuorumV2,
  encodeConsumerProtocolAssignment,
  encodeConsumerProtocolSubscription,
  findCoordinatorV4,
  findCoordinatorV5,
  findCoordinatorV6,
  heartbeatV4,
  incrementalAlterConfigsV0,
  incrementalAlterConfigsV1,
  joinGroupV9,
  leaveGroupV5,
  listGroupsV4,
  listGroupsV5,
  listOffsetsV7,
  listOffsetsV8,
  listOffsetsV9,
  listPartitionReassignmentsV0,
  metadataV10,
  metadataV11,
  metadataV12,
  offsetCommitV8,
  offsetCommitV9,
  offsetDeleteV0,
  offsetFetchV8,
  offsetFetchV9,
  protocolErrorsCodesById,
  syncGroupV5,
} from '@platformatic/kafka';

/** Only how they are asked: their own answers unpack records, for which the driver loads its codecs (fetch-request.ts). */
export const fetchV17 = { createRequest: v17.createRequest };
export const fetchV16 = { createRequest: v16.createRequest };
export const fetchV13 = { createRequest: v13.createRequest };
export const fetchV12 = { createRequest: v12.createRequest };
