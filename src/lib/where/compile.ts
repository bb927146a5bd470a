import type { ASTNode } from '@marcbachmann/cel-js';

import { nearestName } from '../config/nearest.ts';
import { functions, methods, type Callable, type Method } from './functions.ts';
import { negated, parseNumber, remainder } from './numbers.ts';
import type { VariableKind, Variables, WhereRecord } from './record-fields.ts';
import { equal, hasMember, isList, isMembers, isNumber, memberOf, ordered, type Value } from './values.ts';

/** A part of an expression that means nothing here; `at` is where it stands in the text. */
export class WhereFault extends Error {
  override readonly name = 'WhereFault';
  readonly at: number;

  constructor(message: string, at: number) {
    super(message);
    this.at = at;
  }
}

/** What is known of a part's values before any record is seen. */
type Kind = VariableKind | 'condition' | 'list';

interface Part<Subject> {
  readonly kind: Kind;
  /** `element` is what `exists` and `all` look at. */
  readonly value: (record: Subject, element: Value) => Value;
}

interface Scope<Subject extends WhereRecord> {
  readonly variables: Variables<Subject>;
  /** The name that the element has inside of `exists` and `all`. */
  readonly element?: string;
}

/**
 * An expression's tree as nested functions. Only `true` is true: a condition over what is missing, or over what is no
 * condition, is false. `exists` and `all` do not nest, so that the cost grows with the record, never faster.
 * @throws WhereFault
 */
export function compileCondition<Subject extends WhereRecord>(
  tree: ASTNode,
  variables: Variables<Subject>,
): (record: Subject) => boolean {
  const condition = asCondition(tree, { variables });
  return (record) => condition(record, null);
}

function asCondition<Subject extends WhereRecord>(
  node: ASTNode,
  scope: Scope<Subject>,
): (record: Subject, element: Value) => boolean {
  const { kind, value } = compile(node, scope);
  if (kind !== 'condition' && kind !== 'any') {
    throw new WhereFault(`this is a ${kind}, not a condition: compare it with something`, node.start);
  }
  return (record, element) => value(record, element) === true;
}

function compile<Subject extends WhereRecord>(node: ASTNode, scope: Scope<Subject>): Part<Subject> {
  switch (node.op) {
    case 'value':
      return literal(node);
    case 'id':
      return variable(node.args, node, scope);
    case '.':
      return member(compile(node.args[0], scope), { kind: 'text', value: () => node.args[1] });
    case '[]':
      return member(compile(node.args[0], scope), compile(node.args[1], scope));
    case 'list':
      return list(node.args, scope);
    case '&&':
    case '||':
    case '!_':
    case '?:':
      return logic(node, scope);
    case '==':
    case '!=':
    case '<':
    case '<=':
    case '>':
    case '>=':
    case 'in':
    case '%':
      return comparison(node.op, compile(node.args[0], scope), compile(node.args[1], scope));
    case '-_':
      return negative(compile(node.args, scope));
    case 'call':
      return call(node, scope);
    case 'rcall':
      return node.args[0] === 'exists' || node.args[0] === 'all' ? quantifier(node, scope) : method(node, scope);
    case '+':
    case '-':
    case '*':
    case '/':
      throw new WhereFault(
        `${node.op} is not known here: expressions compare, they do not calculate`,
        after(node, node.args[0], node.op),
      );
    case 'map':
    case '.?':
    case '[?]':
      throw new WhereFault(`${node.op === 'map' ? '{…}' : node.op} is not known here`, node.start);
  }
}

/** Where an operator or a method's name stands: the first of that text after the part before it. */
function after({ input, start }: ASTNode, before: ASTNode, name: string): number {
  const at = input.indexOf(name, before.end);
  return at < 0 ? start : at;
}

type NodeOf<Op extends ASTNode['op']> = Extract<ASTNode, { readonly op: Op }>;

function literal(node: NodeOf<'value'>): Part<unknown> {
  const { args } = node;
  switch (typeof args) {
    case 'boolean':
      return { kind: 'condition', value: () => args };
    case 'string':
      return { kind: 'text', value: () => args };
    case 'bigint':
    case 'number': {
      // As it is written: the parser's double may have lost digits.
      const written = typeof args === 'bigint' ? args.toString() : node.input.slice(node.start, node.end);
      const number = parseNumber(written) ?? Number(args);
      return { kind: 'number', value: () => number };
    }
    default:
      if (args === null) {
        return { kind: 'any', value: () => null };
      }
      throw new WhereFault('bytes and unsigned numbers are not known here', node.start);
  }
}

function variable<Subject extends WhereRecord>(name: string, node: ASTNode, scope: Scope<Subject>): Part<Subject> {
  if (name === scope.element) {
    return { kind: 'any', value: (_record, element) => element };
  }
  const found = Object.hasOwn(scope.variables, name) ? scope.variables[name] : undefined;
  if (found === undefined) {
    const names = Object.keys(scope.variables);
    const meant = nearestName(name, names);
    const hint = meant === undefined ? `there are ${names.join(', ')}` : `did you mean ${meant}?`;
    throw new WhereFault(`there is no variable ${name}: ${hint}`, node.start);
  }
  return { kind: found.kind, value: found.read };
}

function member<Subject>(of: Part<Subject>, name: Part<Subject>): Part<Subject> {
  return {
    kind: 'any',
    value: (record, element) => memberOf(of.value(record, element), name.value(record, element)),
  };
}

function list<Subject extends WhereRecord>(items: readonly ASTNode[], scope: Scope<Subject>): Part<Subject> {
  const parts = items.map((item) => compile(item, scope));
  return { kind: 'list', value: (record, element) => parts.map(({ value }) => value(record, element)) };
}

function logic<Subject extends WhereRecord>(
  node: NodeOf<'&&'> | NodeOf<'||'> | NodeOf<'!_'> | NodeOf<'?:'>,
  scope: Scope<Subject>,
): Part<Subject> {
  switch (node.op) {
    case '&&': {
      const [left, right] = [asCondition(node.args[0], scope), asCondition(node.args[1], scope)];
      return { kind: 'condition', value: (record, element) => left(record, element) && right(record, element) };
    }
    case '||': {
      const [left, right] = [asCondition(node.args[0], scope), asCondition(node.args[1], scope)];
      return { kind: 'condition', value: (record, element) => left(record, element) || right(record, element) };
    }
    case '!_': {
      const condition = asCondition(node.args, scope);
      return { kind: 'condition', value: (record, element) => !condition(record, element) };
    }
    case '?:': {
      const condition = asCondition(node.args[0], scope);
      const [then, otherwise] = [compile(node.args[1], scope), compile(node.args[2], scope)];
      return {
        kind: then.kind === otherwise.kind ? then.kind : 'any',
        value: (record, element) => (condition(record, element) ? then : otherwise).value(record, element),
      };
    }
  }
}

const comparisons = {
  '==': equal,
  '!=': (left, right) => !equal(left, right),
  '<': (left, right) => ordered(left, right, (order) => order < 0),
  '<=': (left, right) => ordered(left, right, (order) => order <= 0),
  '>': (left, right) => ordered(left, right, (order) => order > 0),
  '>=': (left, right) => ordered(left, right, (order) => order >= 0),
  in: isIn,
  '%': (left, right) => (isNumber(left) && isNumber(right) ? (remainder(left, right) ?? null) : null),
} as const satisfies Readonly<Record<string, (left: Value, right: Value) => Value>>;

function comparison<Subject>(
  operator: keyof typeof comparisons,
  left: Part<Subject>,
  right: Part<Subject>,
): Part<Subject> {
  const compare = comparisons[operator];
  return {
    kind: operator === '%' ? 'number' : 'condition',
    value: (record, element) => compare(left.value(record, element), right.value(record, element)),
  };
}

/** An element of a list, or the name of a member of an object. */
function isIn(value: Value, container: Value): boolean {
  return isList(container) ? container.some((item) => equal(item, value)) : hasMember(container, value);
}

function negative<Subject>(part: Part<Subject>): Part<Subject> {
  return {
    kind: 'number',
    value: (record, element) => {
      const value = part.value(record, element);
      return isNumber(value) ? negated(value) : null;
    },
  };
}

function call<Subject extends WhereRecord>(node: NodeOf<'call'>, scope: Scope<Subject>): Part<Subject> {
  const [name, parameters] = node.args;
  if (name === 'has') {
    return presence(node, scope);
  }
  const found = Object.hasOwn(functions, name) ? functions[name] : undefined;
  if (found === undefined) {
    throw new WhereFault(`there is no function ${name}: ${known(functions)}`, node.start);
  }
  const [first] = compileAll(found, parameters, node, scope);
  return {
    kind: found.gives,
    value: (record, element) => found.call(first?.value(record, element) ?? null),
  };
}

/** `has(data.x)`: there is such a member, be it null. */
function presence<Subject extends WhereRecord>(node: NodeOf<'call'>, scope: Scope<Subject>): Part<Subject> {
  const [path, ...more] = node.args[1];
  if (path === undefined || more.length > 0 || (path.op !== '.' && path.op !== '[]')) {
    throw new WhereFault('has asks for a member: has(data.amountCents), has(headers["x"])', node.start);
  }
  const of = compile(path.args[0], scope);
  const name = path.op === '.' ? { value: (): Value => path.args[1] } : compile<Subject>(path.args[1], scope);
  return {
    kind: 'condition',
    value: (record, element) => hasMember(of.value(record, element), name.value(record, element)),
  };
}

function method<Subject extends WhereRecord>(node: NodeOf<'rcall'>, scope: Scope<Subject>): Part<Subject> {
  const [name, receiver, parameters] = node.args;
  const found = Object.hasOwn(methods, name) ? methods[name] : undefined;
  if (found === undefined) {
    const hint = name === 'matches' ? 'use like("order.*"): regular expressions have no bound' : known(methods);
    throw new WhereFault(`there is no .${name}(): ${hint}`, after(node, receiver, name));
  }
  const subject = compile(receiver, scope);
  const [first] = compileAll(found, parameters, node, scope);
  return {
    kind: found.gives,
    value: (record, element) => found.call(subject.value(record, element), first?.value(record, element) ?? null),
  };
}

function compileAll<Subject extends WhereRecord>(
  called: Callable | Method,
  parameters: readonly ASTNode[],
  node: ASTNode,
  scope: Scope<Subject>,
): readonly Part<Subject>[] {
  if (parameters.length !== called.parameters) {
    throw new WhereFault(`write ${called.usage}`, node.start);
  }
  return parameters.map((parameter) => compile(parameter, scope));
}

/** `data.items.exists(i, i.sku == "A1")` and `all`: of a list's elements or an object's members. */
function quantifier<Subject extends WhereRecord>(node: NodeOf<'rcall'>, scope: Scope<Subject>): Part<Subject> {
  const [name, receiver, [element, body, ...more]] = node.args;
  if (element?.op !== 'id' || body === undefined || more.length > 0) {
    throw new WhereFault(`write LIST.${name}(item, CONDITION)`, node.start);
  }
  if (scope.element !== undefined) {
    throw new WhereFault(`${name} inside of exists or all is not known here`, after(node, receiver, name));
  }
  const container = compile(receiver, scope);
  const condition = asCondition(body, { ...scope, element: element.args });
  return {
    kind: 'condition',
    value: (record, outer) => {
      const value = container.value(record, outer);
      const items = isList(value) ? value : isMembers(value) ? Object.values(value) : undefined;
      const holds = (item: Value): boolean => condition(record, item);
      return items !== undefined && (name === 'all' ? items.every(holds) : items.some(holds));
    },
  };
}

function known(callables: Readonly<Record<string, Callable | Method>>): string {
  return `there are ${Object.values(callables)
    .map(({ usage }) => usage)
    .join(', ')}`;
}
