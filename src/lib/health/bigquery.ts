import type { BigQueryFacts } from '../bigquery/probe.ts';
import { failing, fine, type Finding } from './check.ts';

export function bigQueryFindings(facts: BigQueryFacts): readonly Finding[] {
  return [
    fine('bigquery', facts.endpoint),
    facts.grpcProblem === null
      ? fine('write API', 'reachable')
      : failing(
          'write API',
          `does not answer: ${facts.grpcProblem}`,
          'check bigquery.grpcEndpoint in kpipe.yaml, and that the stand-in runs',
        ),
    tableFinding(facts),
  ];
}

function tableFinding({ dataset, table, tablePath }: BigQueryFacts): Finding {
  if (dataset && table) {
    return fine('table', tablePath);
  }
  return fine(
    'table',
    `${tablePath} is not there yet: role analytics makes ${dataset ? 'it' : 'dataset and table'} when it starts`,
  );
}
