// From a TypeScript type, as the checker resolves it, to the JSON Schema of what JSON.stringify makes of its values with
// src/cli/output/document.ts: bigint becomes text, a Map an object, undefined is left out.
import { ts } from 'ts-morph';

const { TypeFlags, SymbolFlags } = ts;

/**
 * @param {import('ts-morph').ts.TypeChecker} checker
 * @returns {(type: import('ts-morph').ts.Type) => object} schemas of one document; named types go to its `$defs`
 */
export function documentSchemas(checker) {
  return (root) => {
    const walk = { checker, definitions: new Map(), names: new Map() };
    const schema = schemaOf(root, walk);
    const definitions = [...walk.definitions].toSorted(([left], [right]) => (left < right ? -1 : 1));
    return definitions.length === 0 ? schema : { ...schema, $defs: Object.fromEntries(definitions) };
  };
}

function schemaOf(type, walk) {
  if (type.isUnion()) {
    return named(type, type.aliasSymbol, walk, () => unionSchema(type, walk));
  }
  return primitiveSchema(type) ?? containerSchema(type, walk) ?? objectSchema(type, walk);
}

function primitiveSchema(type) {
  if (type.isStringLiteral() || type.isNumberLiteral()) {
    return { const: type.value };
  }
  if (type.flags & TypeFlags.BooleanLiteral) {
    return { const: type.intrinsicName === 'true' };
  }
  const kinds = [
    [TypeFlags.StringLike | TypeFlags.BigIntLike, { type: 'string' }],
    [TypeFlags.NumberLike, { type: 'number' }],
    [TypeFlags.BooleanLike, { type: 'boolean' }],
    [TypeFlags.Null, { type: 'null' }],
    [TypeFlags.Unknown, {}],
  ];
  const [, schema] = kinds.find(([flags]) => (type.flags & flags) !== 0) ?? [];
  if (
    schema === undefined &&
    type.flags & (TypeFlags.Any | TypeFlags.Never | TypeFlags.Undefined | TypeFlags.Void | TypeFlags.ESSymbolLike)
  ) {
    throw new Error('a document holds a type that JSON cannot say: any, never, undefined or a symbol');
  }
  return schema;
}

function containerSchema(type, walk) {
  const { checker } = walk;
  const element = (index) => schemaOf(checker.getTypeArguments(type)[index], walk);
  if (checker.isTupleType(type)) {
    const items = checker.getTypeArguments(type).map((item) => schemaOf(item, walk));
    return { type: 'array', prefixItems: items, minItems: type.target.minLength, maxItems: items.length };
  }
  if (checker.isArrayType(type)) {
    return { type: 'array', items: element(0) };
  }
  const name = type.symbol?.name;
  if (name === 'Map' || name === 'ReadonlyMap') {
    return { type: 'object', additionalProperties: element(1) };
  }
  return name === 'Date' ? { type: 'string', format: 'date-time' } : undefined;
}

/**
 * Literals become an enum, other alternatives `anyOf`; undefined is the property's business. Sorted: the checker's own order
 * depends on which file it read first.
 */
function unionSchema(type, walk) {
  const members = withoutBooleanPair(type.types.filter((member) => !(member.flags & TypeFlags.Undefined)));
  const schemas = members.map((member) => (member === 'boolean' ? { type: 'boolean' } : schemaOf(member, walk)));
  const literals = schemas
    .filter((schema) => 'const' in schema)
    .map((schema) => schema.const)
    .toSorted();
  const simple = schemas
    .filter(isSimple)
    .map((schema) => schema.type)
    .toSorted();
  const rest = schemas
    .filter((schema) => !('const' in schema) && !isSimple(schema))
    .toSorted((left, right) => (JSON.stringify(left) < JSON.stringify(right) ? -1 : 1));
  const alternatives = [
    ...(literals.length === 0 ? [] : [literals.length === 1 ? { const: literals[0] } : { enum: literals }]),
    ...(simple.length === 0 ? [] : [{ type: simple.length === 1 ? simple[0] : simple }]),
    ...rest,
  ];
  return alternatives.length === 1 ? alternatives[0] : { anyOf: alternatives };
}

function isSimple(schema) {
  return typeof schema.type === 'string' && Object.keys(schema).length === 1;
}

/** The checker keeps boolean in a union as true | false. */
function withoutBooleanPair(members) {
  const booleans = members.filter((member) => member.flags & TypeFlags.BooleanLiteral);
  return booleans.length === 2 ? [...members.filter((member) => !booleans.includes(member)), 'boolean'] : members;
}

function objectSchema(type, walk) {
  const symbol =
    type.aliasSymbol ?? (type.symbol?.flags & (SymbolFlags.Interface | SymbolFlags.Class) ? type.symbol : undefined);
  return named(type, symbol, walk, () => propertiesSchema(type, walk));
}

function propertiesSchema(type, walk) {
  const { checker } = walk;
  const properties = {};
  const required = [];
  for (const property of checker.getPropertiesOfType(type)) {
    const propertyType = checker.getTypeOfSymbol(property);
    if (propertyType.getCallSignatures().length > 0) {
      throw new Error(`a document holds a function: ${property.name}`);
    }
    const description = ts.displayPartsToString(property.getDocumentationComment(checker));
    properties[property.name] = { ...(description === '' ? {} : { description }), ...schemaOf(propertyType, walk) };
    const optional =
      property.flags & SymbolFlags.Optional ||
      (propertyType.isUnion() && propertyType.types.some((member) => member.flags & TypeFlags.Undefined));
    if (!optional) {
      required.push(property.name);
    }
  }
  const index = checker.getIndexInfoOfType(type, ts.IndexKind.String);
  return {
    type: 'object',
    ...(Object.keys(properties).length === 0 ? {} : { properties, required }),
    ...(index === undefined ? {} : { additionalProperties: schemaOf(index.type, walk) }),
  };
}

/** A type with a name of the house is defined once and referred to: it may hold itself. */
function named(type, symbol, walk, make) {
  const isOurs =
    symbol?.declarations?.some((declaration) => !declaration.getSourceFile().fileName.includes('/node_modules/')) ??
    false;
  if (!isOurs || (type.aliasTypeArguments ?? []).length > 0 || (type.typeArguments ?? []).length > 0) {
    return make();
  }
  const known = walk.names.get(symbol.name);
  if (known !== undefined && known !== symbol) {
    throw new Error(`two types of one document have the name ${symbol.name}`);
  }
  if (known === undefined) {
    walk.names.set(symbol.name, symbol);
    walk.definitions.set(symbol.name, {});
    const description = ts.displayPartsToString(symbol.getDocumentationComment(walk.checker));
    walk.definitions.set(symbol.name, { ...(description === '' ? {} : { description }), ...make() });
  }
  return { $ref: `#/$defs/${symbol.name}` };
}
