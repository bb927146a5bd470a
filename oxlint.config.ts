import { defineConfig } from 'oxlint';

/** The packages that are an edge's own, by the folder of src/lib that may import them. */
const drivers: Readonly<Record<string, readonly string[]>> = {
  kafka: ['kafkajs', '@platformatic/kafka', 'snappy', 'lz4-napi'],
  postgres: ['pg', 'pg-copy-streams', 'pg-protocol', 'pg-types'],
  redis: ['ioredis'],
  bigquery: ['@google-cloud/*', 'protobufjs', '@grpc/*', 'google-gax'],
  s3: ['@aws-sdk/*', '@smithy/*'],
};

const presentation = ['@oclif/*', 'ink', 'ink-*', 'react', 'react/*', 'chalk', 'cli-table3'];

interface Ban {
  readonly group: readonly string[];
  readonly message: string;
  readonly allowTypeImports?: boolean;
}

const driversOutside = (folder?: string): Ban => ({
  group: Object.entries(drivers).flatMap(([name, packages]) => (name === folder ? [] : packages)),
  message: 'a driver is imported in its own folder of src/lib only; elsewhere use lib/ports.ts',
});

const layers = (...names: readonly string[]): readonly string[] => names.map((name) => `**/${name}/**`);

const bans = (...patterns: readonly Ban[]): Record<string, unknown> => ({
  'no-restricted-imports': ['error', { patterns }],
});

const libBans = (folder?: string): Record<string, unknown> =>
  bans(
    {
      group: [...presentation, ...layers('commands', 'cli', 'ui')],
      message: 'lib knows no command line and prints nothing',
    },
    driversOutside(folder),
  );

export default defineConfig({
  plugins: ['eslint', 'typescript', 'unicorn', 'oxc', 'import', 'promise', 'node', 'vitest', 'react'],
  categories: { correctness: 'error', suspicious: 'error' },
  options: { reportUnusedDisableDirectives: 'error' },
  ignorePatterns: ['dist/**', 'coverage/**', 'node_modules/**', 'schemas/**'],
  rules: {
    // types are told, not cast away
    'typescript/no-explicit-any': 'error',
    'typescript/no-non-null-assertion': 'error',
    'typescript/no-unsafe-argument': 'error',
    'typescript/no-unsafe-assignment': 'error',
    'typescript/no-unsafe-call': 'error',
    'typescript/no-unsafe-member-access': 'error',
    'typescript/no-unsafe-return': 'error',
    'typescript/ban-ts-comment': 'error',
    'typescript/consistent-type-imports': ['error', { disallowTypeAnnotations: false }],
    'typescript/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
    // promises are awaited or handed on
    'typescript/no-floating-promises': 'error',
    'typescript/no-misused-promises': 'error',
    'typescript/await-thenable': 'error',
    'typescript/return-await': ['error', 'error-handling-correctness-only'],
    'typescript/only-throw-error': 'error',
    'typescript/prefer-promise-reject-errors': 'error',
    // one way to write it
    eqeqeq: 'error',
    curly: 'error',
    'no-var': 'error',
    'prefer-const': 'error',
    'no-param-reassign': 'error',
    'no-warning-comments': ['error', { terms: ['todo', 'fixme', 'xxx'] }],
    'import/no-cycle': 'error',
    'import/no-self-import': 'error',
    'import/no-duplicates': 'error',
    'max-lines': ['error', { max: 400, skipComments: true }],
    // sequential waits, closures over loop variables and returns from callbacks are meant
    'no-await-in-loop': 'off',
    'promise/always-return': 'off',
    'react/react-in-jsx-scope': 'off',
    'unicorn/consistent-function-scoping': 'off',
    // a default export with members is how fast-check and pg are made
    'import/no-named-as-default-member': 'off',
    // what control characters do to a terminal is this program's business
    'no-control-regex': 'off',
    // the compiler's noImplicitReturns does it, and knows exhaustive switches
    'typescript/consistent-return': 'off',
  },
  overrides: [
    {
      files: ['src/**'],
      rules: { 'no-console': 'error' },
    },
    {
      files: ['src/commands/**'],
      rules: bans(driversOutside(), {
        group: ['ink', 'ink-*', 'react', 'chalk', 'cli-table3'],
        message: 'commands return data; src/cli and src/ui show it',
      }),
    },
    {
      files: ['src/cli/**'],
      rules: bans(
        driversOutside(),
        { group: [...layers('commands'), 'ink', 'ink-*', 'react'], message: 'cli knows neither commands nor screens' },
        { group: layers('ui'), allowTypeImports: true, message: 'cli fills the models of screens: only types from ui' },
      ),
    },
    {
      files: ['src/ui/**'],
      rules: bans(
        driversOutside(),
        { group: [...layers('commands', 'cli'), '@oclif/*'], message: 'a screen takes props and returns a frame' },
        { group: layers('lib'), allowTypeImports: true, message: 'a screen takes only types from lib' },
      ),
    },
    { files: ['src/lib/**'], rules: libBans() },
    ...Object.keys(drivers).map((folder) => ({ files: [`src/lib/${folder}/**`], rules: libBans(folder) })),
    // the sandbox's health checks speak to servers that no port exists for yet
    {
      files: ['src/lib/sandbox/health.ts'],
      rules: bans({
        group: [...presentation, ...layers('commands', 'cli', 'ui')],
        message: 'lib knows no command line and prints nothing',
      }),
    },
    // plain JavaScript, which says no types; scripts run on the system's Node, which may not know them
    {
      files: ['**/*.mjs', 'bin/**'],
      rules: {
        'typescript/no-unsafe-argument': 'off',
        'typescript/no-unsafe-assignment': 'off',
        'typescript/no-unsafe-call': 'off',
        'typescript/no-unsafe-member-access': 'off',
        'typescript/no-unsafe-return': 'off',
      },
    },
    // what a driver or a server hands over has the type that its protocol says
    {
      files: [...Object.keys(drivers).map((folder) => `src/lib/${folder}/**`), 'test/**', 'bench/**'],
      rules: { 'typescript/no-unsafe-type-assertion': 'off' },
    },
    {
      files: ['test/**', 'bench/**'],
      rules: {
        'typescript/no-non-null-assertion': 'off',
        // documents and answers are looked at as they come
        'typescript/no-unsafe-assignment': 'off',
        'typescript/no-unsafe-member-access': 'off',
        'typescript/no-unsafe-return': 'off',
        'typescript/unbound-method': 'off',
        'max-lines': 'off',
        // assertions stand in properties, tables and functions of their own, too
        'vitest/expect-expect': 'off',
        'vitest/no-conditional-expect': 'off',
        'vitest/no-standalone-expect': 'off',
      },
    },
  ],
});
