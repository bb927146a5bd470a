import { Box, Text } from 'ink';
import type { ReactElement } from 'react';

const helpLines = [
  'LAG      records between the position and the log’s end; 0 behind control and aborted records',
  'TIME     age of the first unread record; ~ an estimate, ? not known',
  'DRAIN    until the lag is gone at these rates; never: it does not fall',
  'LOSS-IN  until unread records begin to expire',
  'STATUS   WARN lag grows, STALL the position stands, REWIND it went back, STOP nothing commits',
  '',
  'esc goes back',
];

/** What the columns of the lag screen mean. */
export function LagHelp(): ReactElement {
  return (
    <Box flexDirection="column">
      {helpLines.map((line) => (
        <Text key={line} wrap="truncate">
          {line === '' ? ' ' : line}
        </Text>
      ))}
    </Box>
  );
}
