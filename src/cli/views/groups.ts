import type { DeletedGroup, DescribedGroup, GroupList } from '../../lib/groups/inspect.ts';
import type { View } from '../base-command.ts';
import { dim, ok, strong, warn, type Line, type Span } from '../output/text.ts';

/** Screens of `kpipe groups …`: results in, text out. */

const unknown = dim('?');

export function groupListView({ groups }: GroupList, view: View): string {
  if (groups.length === 0) {
    return view.line(dim('no consumer groups'));
  }
  return view.table(
    [{ title: 'GROUP' }, { title: 'PROTOCOL' }, { title: 'STATE' }, { title: 'ROLE' }],
    groups.map(({ group, protocol, state, role }) => [strong(group), protocol, stateSpan(state), role ?? dim('–')]),
  );
}

export function groupView(group: DescribedGroup, view: View): string {
  const { members, partitions } = group;
  return [
    view.line(headLine(group)),
    ...(members.length === 0
      ? []
      : [
          view.table(
            [
              { title: 'MEMBER' },
              { title: 'CLIENT' },
              { title: 'HOST' },
              { title: 'INSTANCE' },
              { title: 'ASSIGNMENT' },
            ],
            members.map(({ memberId, clientId, host, instanceId, assignment }) => [
              memberId,
              clientId,
              host,
              instanceId ?? dim('–'),
              assignment.length === 0
                ? dim('nothing')
                : assignment.map(({ topic, partitions: held }) => `${topic}: ${held.join(',')}`).join('; '),
            ]),
          ),
        ]),
    ...(partitions.length === 0
      ? [view.line(dim('nothing is committed or assigned'))]
      : [
          view.table(
            [
              { title: 'TOPIC' },
              { title: 'P', align: 'right' },
              { title: 'COMMITTED', align: 'right' },
              { title: 'START', align: 'right' },
              { title: 'END', align: 'right' },
              { title: 'LAG', align: 'right' },
              { title: 'MEMBER' },
            ],
            partitions.map((each) => [
              each.topic,
              String(each.partition),
              offsetSpan(each.committedOffset, 'none'),
              offsetSpan(each.logStartOffset, '?'),
              offsetSpan(each.highWatermark, '?'),
              each.lagRecords === null ? unknown : each.lagRecords.toLocaleString('en-US'),
              each.memberId ?? dim('–'),
            ]),
          ),
        ]),
    ...group.notes.map((note) => view.line([dim('· '), note])),
  ].join('\n');
}

export function deletedGroupView({ group }: DeletedGroup, view: View): string {
  return view.line([ok('✓ '), `group ${group} is deleted`]);
}

function headLine({ group, role, protocol, state, members, lagRecords }: DescribedGroup): Line {
  return [
    strong(group),
    `  ${protocol ?? '?'}  `,
    stateSpan(state),
    `  ${members.length} members  lag ${lagRecords.toLocaleString('en-US')}`,
    ...(role === null ? [] : [dim(`  role ${role}`)]),
  ];
}

function stateSpan(state: string): Span {
  switch (state) {
    case 'Stable':
      return ok(state);
    case 'Empty':
      return { tone: 'plain', text: state };
    case '':
      return unknown;
    default:
      return warn(state);
  }
}

function offsetSpan(offset: bigint | null, none: string): Span {
  return offset === null ? dim(none) : { tone: 'plain', text: offset.toString() };
}
