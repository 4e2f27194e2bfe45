/**
 * A component's exported functions as tools: names, descriptions, schemas.
 *
 * Owns which functions become tools and what they are called. Works from WIT text, which is the
 * same for both engines. Must not know MCP, the registry or how functions are run.
 */
import { AtollError } from "../core/errors.ts";
import type { ExportedFunction } from "../sandbox/sandbox.ts";
import { countNodes, jsonName, TYPE_NODES_MAX } from "../sandbox/value_types.ts";
import {
  unserializable,
  type WitFunction,
  type WitType,
  type World,
} from "../sandbox/wit/model.ts";
import { resultSides } from "../sandbox/values.ts";
import { readWorld } from "../sandbox/wit/resolve.ts";
import { jsonLength, type JsonSchema, objectSchema, shortened, typeSchema } from "./json_schema.ts";

export type { JsonSchema } from "./json_schema.ts";

/** A function as a tool. */
export interface Tool {
  /** `PREFIX_FUNCTION` in snake_case. */
  readonly name: string;
  /** The documentation of the function in WIT. */
  readonly description?: string;
  /** JSON Schema 2020-12 of the arguments, always of an object. */
  readonly inputSchema: JsonSchema;
  /**
   * JSON Schema of the ok value. Absent for a function without one: its JSON is `null`, which is
   * answered as empty content without structured content.
   */
  readonly outputSchema?: JsonSchema;
  /** JSON Schema of the error side of its result; absent for a function that cannot fail. */
  readonly errorSchema?: JsonSchema;
  /** Index into the functions of the loaded component. */
  readonly functionIndex: number;
  /** The JSON result is not an object: revisions before 2026-07-28 need it as `{"result": …}`. */
  readonly wrapsResult: boolean;
}

/** A function that became no tool. */
export interface Unmapped {
  readonly interface: string | null;
  readonly name: string;
  readonly reason: string;
  /** It could be one if it were smaller, so that its author will want to know. */
  readonly oversized?: true;
}

/** Most characters of a tool's name. */
export const TOOL_NAME_MAX = 64;

/** Most characters of a tool's description; a longer one is cut. */
export const DESCRIPTION_MAX = 4096;

/**
 * Most characters of a tool's description and schemas as JSON. Types may be used a thousand times
 * by a function of a few bytes, and each client asks for the whole list.
 */
export const TOOL_JSON_MAX = 256 * 1024;

/** The same for all tools of one component together. */
export const TOOLS_JSON_MAX = 4 * 1024 * 1024;

interface Candidate {
  readonly interface: string | null;
  readonly function: WitFunction;
}

/**
 * The tools of a component.
 * @param functions The functions that the engine can call, as it lists them.
 * @param prefix What the names start with; null for nothing.
 * @throws AtollError manifest: a name is too long, has other characters, or is given twice;
 *   component: the text is not WIT.
 */
export function deriveTools(
  wit: string,
  functions: readonly ExportedFunction[],
  prefix: string | null,
): { tools: Tool[]; unmapped: Unmapped[] } {
  const unmapped: Unmapped[] = [];
  const mapped: { candidate: Candidate; functionIndex: number }[] = [];
  for (const candidate of candidates(readWorld(wit))) {
    const { interface: owner, function: { name, resource } } = candidate;
    const functionIndex = functions.findIndex((each) =>
      each.interface === owner && each.name === name
    );
    const refused = refusal(candidate, functionIndex);
    if (refused === null) mapped.push({ candidate, functionIndex });
    else {
      unmapped.push({
        interface: owner,
        name: resource === undefined ? name : `${resource}.${name}`,
        ...refused,
      });
    }
  }
  const named = toolNames(mapped.map((each) => each.candidate), prefix);
  const tools = mapped.map(({ candidate, functionIndex }, index) =>
    tool(named[index] ?? "", candidate.function, functionIndex)
  );
  const tooLong = oversized(tools);
  for (const [index, { candidate: { interface: owner, function: { name } } }] of mapped.entries()) {
    const reason = tooLong.get(named[index] ?? "");
    if (reason !== undefined) unmapped.push({ interface: owner, name, reason, oversized: true });
  }
  return { tools: tools.filter(({ name }) => !tooLong.has(name)), unmapped };
}

/** Names of the tools that would make the list of tools too long, each with the reason. */
function oversized(tools: readonly Tool[]): ReadonlyMap<string, string> {
  const refused = new Map<string, string>();
  let total = 0;
  // By name: engines list functions in different orders, and the same tools have to remain.
  for (const tool of [...tools].sort((a, b) => a.name < b.name ? -1 : 1)) {
    const { name } = tool;
    const length = listedLength(tool);
    if (length > TOOL_JSON_MAX) {
      refused.set(
        name,
        `description and schemas of the tool "${name}" have ${length} characters, ` +
          `${TOOL_JSON_MAX} are allowed`,
      );
    } else if (total + length > TOOLS_JSON_MAX) {
      refused.set(
        name,
        `with the tool "${name}", descriptions and schemas of the component's tools have more ` +
          `than ${TOOLS_JSON_MAX} characters`,
      );
    } else total += length;
  }
  return refused;
}

function listedLength({ name, description, inputSchema, outputSchema, errorSchema }: Tool): number {
  const parts = [name, description, inputSchema, outputSchema, errorSchema];
  return parts.reduce<number>(
    (sum, each) => each === undefined ? sum : sum + jsonLength(each),
    0,
  );
}

function candidates(world: World): Candidate[] {
  return world.exports.flatMap((item): Candidate[] =>
    item.kind === "function"
      ? [{ interface: null, function: item.function }]
      : item.functions.map((func) => ({ interface: item.name, function: func }))
  );
}

/** Why a function cannot be a tool of this engine; null when it can. */
function refusal(
  candidate: Candidate,
  functionIndex: number,
): Omit<Unmapped, "interface" | "name"> | null {
  const reason = obstacle(candidate);
  if (reason !== null) return { reason };
  if (typesTooLarge(candidate.function)) {
    return { reason: `its types are larger than ${TYPE_NODES_MAX} nodes`, oversized: true };
  }
  if (functionIndex >= 0) return null;
  return {
    reason: candidate.function.async
      ? "it is asynchronous, which takes the native engine"
      : "the engine cannot call it",
  };
}

/** The interface of an HTTP handler: its name changed with WASI 0.3. */
const HANDLER = /^wasi:http\/(?:incoming-)?handler@/;

/** Why a function can be a tool of no engine. */
function obstacle({ interface: owner, function: func }: Candidate): string | null {
  if (owner !== null && HANDLER.test(owner)) {
    return "it serves HTTP and is mounted as a route";
  }
  if (owner?.startsWith("wasi:")) return "it belongs to WASI";
  // componentize-py's; another interface may well have that name.
  if (owner === "exports" && func.name === "init" && func.params[0]?.name === "app-name") {
    return "it is the start of the Python runtime";
  }
  if (owner === null && func.name === "init" && func.params[0]?.name === "shim") {
    return "it is the start of the QuickJS runtime";
  }
  if (func.kind !== "free") {
    return func.kind === "accessor"
      ? "it is a getter or setter"
      : `it is a ${func.kind} of the resource ${func.resource}`;
  }
  for (const param of func.params) {
    const found = unserializable(param.type);
    if (found !== null) return `its parameter ${param.name} holds ${found}, which has no JSON`;
  }
  const found = unserializable(func.result);
  return found === null ? null : `its result holds ${found}, which has no JSON`;
}

function typesTooLarge(func: WitFunction): boolean {
  const params = func.params.reduce((sum, param) => sum + countNodes(param.type), 0);
  return params + countNodes(func.result) > TYPE_NODES_MAX;
}

function toolNames(mapped: readonly Candidate[], prefix: string | null): string[] {
  const owners = new Map<string, Set<string>>();
  for (const { interface: owner, function: { name } } of mapped) {
    if (owner === null) continue;
    owners.set(name, (owners.get(name) ?? new Set()).add(owner));
  }
  const taken = new Map<string, string>();
  return mapped.map((candidate) => {
    const { interface: owner, function: { name } } = candidate;
    const ambiguous = owner !== null && (owners.get(name)?.size ?? 0) > 1;
    const own = ambiguous ? [shortName(owner), name] : [name];
    // WIT may write whole words in capitals, `get-URL`.
    const words = own.map((part) => jsonName(part).toLowerCase());
    const full = [...prefix === null || prefix === "" ? [] : [jsonName(prefix)], ...words].join(
      "_",
    );
    const label = functionLabel(candidate);
    checkName(full, label);
    const other = taken.get(full);
    if (other !== undefined) {
      throw new AtollError(
        "manifest",
        `Cannot name tool "${full}": both ${other} and ${label} would have this name`,
      );
    }
    taken.set(full, label);
    return full;
  });
}

/** `api` of `demo:text/api@0.1.0`. */
function shortName(owner: string): string {
  const path = owner.split("@")[0] ?? owner;
  return path.slice(path.lastIndexOf("/") + 1);
}

function functionLabel({ interface: owner, function: { name } }: Candidate): string {
  return owner === null ? `function ${name}` : `function ${name} of ${owner}`;
}

function checkName(name: string, label: string): void {
  if (!/^[A-Za-z0-9_-]+$/.test(name)) {
    throw new AtollError(
      "manifest",
      `Cannot name tool "${name}" (${label}): only letters, digits, "_" and "-" are allowed; ` +
        "set another prefix",
    );
  }
  if (name.length > TOOL_NAME_MAX) {
    throw new AtollError(
      "manifest",
      `Cannot name tool "${name}" (${label}): it has ${name.length} characters, ` +
        `${TOOL_NAME_MAX} are allowed; set a shorter prefix`,
    );
  }
}

function tool(name: string, func: WitFunction, functionIndex: number): Tool {
  const { fallible, ok, error } = resultSides(func);
  return {
    name,
    ...(func.docs === undefined ? {} : { description: shortened(func.docs, DESCRIPTION_MAX) }),
    inputSchema: objectSchema(func.params, "input"),
    ...output(ok),
    ...(fallible
      ? { errorSchema: error === null ? { type: "null" } : typeSchema(error, "output") }
      : {}),
    functionIndex,
  };
}

function output(ok: WitType | null): Pick<Tool, "outputSchema" | "wrapsResult"> {
  if (ok === null) return { wrapsResult: false };
  const outputSchema = typeSchema(ok, "output");
  return { outputSchema, wrapsResult: outputSchema["type"] !== "object" };
}
