import { join } from 'node:path';

import { Project, ts } from 'ts-morph';

import { documentSchemas } from './type-schema.mjs';

/**
 * One JSON Schema a command: what it prints with --json, from T in its `run(): Promise<T>`. One that ends in void or undefined prints no
 * document and has none.
 * @returns {Record<string, string>} by path, such as `schemas/topics-plan.json`
 */
export function renderSchemas(root) {
  const project = new Project({ tsConfigFilePath: join(root, 'tsconfig.json'), skipAddingFilesFromTsConfig: true });
  const folder = join(root, 'src', 'commands');
  const commands = project.addSourceFilesAtPaths(join(folder, '**', '*.ts'));
  const checker = project.getTypeChecker().compilerObject;
  const schemaOf = documentSchemas(checker);
  const schemas = {};
  for (const command of commands) {
    const name = command
      .getFilePath()
      .slice(folder.length + 1)
      .replace(/\.ts$/, '')
      .replace(/\/index$/, '')
      .replaceAll('/', '-');
    const result = resultType(command);
    if (result.kind === ts.SyntaxKind.VoidKeyword || result.kind === ts.SyntaxKind.UndefinedKeyword) {
      continue;
    }
    try {
      const schema = {
        $schema: 'https://json-schema.org/draft/2020-12/schema',
        title: `kpipe ${name.replaceAll('-', ' ')} --json`,
        ...schemaOf(checker.getTypeFromTypeNode(result)),
      };
      schemas[`schemas/${name}.json`] = `${JSON.stringify(schema, undefined, 2)}\n`;
    } catch (error) {
      throw new Error(`${command.getFilePath()}: no schema can be made of its result type`, { cause: error });
    }
  }
  return schemas;
}

/** The node of T in `run(): Promise<T>` of the command's class. */
function resultType(command) {
  const [result] = command
    .getClasses()
    .flatMap((declared) => declared.getMethod('run')?.getReturnTypeNode()?.getTypeArguments() ?? []);
  if (result === undefined) {
    throw new Error(`${command.getFilePath()}: run() names no result type, Promise<…>`);
  }
  return result.compilerNode;
}
