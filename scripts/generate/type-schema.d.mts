import type { ts } from 'ts-morph';

/** The JSON Schema of what a value of the type looks like in a document; named types are in its `$defs`. */
export declare function documentSchemas(checker: ts.TypeChecker): (type: ts.Type) => object;
