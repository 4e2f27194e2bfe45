/**
 * `ATOLL_*` variables as configuration.
 *
 * A key is written in capitals, words joined by `_`, sections by `__`: `ATOLL_PORT`,
 * `ATOLL_HTTP__BODY_BYTES`, `ATOLL_LIMITS__WALL_MS`. `ATOLL_LOG_LEVEL` and `ATOLL_LOG_FORMAT` stand
 * for the keys of `log`. `ATOLL_PLUGINS` is a list of paths joined by `:`, other lists are joined
 * by `,`, whole sections are JSON (`ATOLL_PLUGIN_SETTINGS='{"text":{"prefix":null}}'`).
 *
 * Owns: names and the reading of texts as values. Whether a value is right says the schema.
 */
import type * as v from "valibot";
import { nearest } from "../core/nearest.ts";
import { keysOf, schemaAt } from "./issues.ts";

export interface EnvironmentValue {
  readonly name: string;
  readonly path: readonly string[];
  readonly value: unknown;
}

/** Variables that other parts read, or that have another meaning; they are no configuration keys. */
const ELSEWHERE = new Set(["ATOLL_CONFIG", "ATOLL_RUNTIME"]);
const SHORT: Record<string, readonly string[]> = {
  ATOLL_LOG_LEVEL: ["log", "level"],
  ATOLL_LOG_FORMAT: ["log", "format"],
};

/**
 * Values that the environment sets. A variable that fits no key is a warning and no error: the
 * environment belongs to others too. Kubernetes gives each pod beside a service named `atoll`
 * variables such as `ATOLL_PORT=tcp://10.0.0.1:80`; those are passed over in silence.
 */
export function readEnvironment(
  environment: Readonly<Record<string, string | undefined>>,
  schema: v.GenericSchema,
): { values: EnvironmentValue[]; warnings: string[] } {
  const values: EnvironmentValue[] = [];
  const warnings: string[] = [];
  for (const name of Object.keys(environment).sort()) {
    const text = environment[name];
    if (!name.startsWith("ATOLL_") || text === undefined || text === "") continue;
    if (ELSEWHERE.has(name) || isServiceLink(name, text)) continue;
    const path = SHORT[name] ?? pathOf(name, schema);
    if (path === null) {
      const near = nearest(name, knownNames(schema));
      warnings.push(
        `Environment variable ${name} is not known and changes nothing` +
          (near === null ? "" : `; did you mean ${near}?`),
      );
      continue;
    }
    values.push({ name, path, value: valueOf(text, path, schema) });
  }
  return { values, warnings };
}

function isServiceLink(name: string, text: string): boolean {
  return /^ATOLL_(SERVICE_(HOST|PORT)(_.*)?|PORT_\d+_.*)$/.test(name) ||
    (name === "ATOLL_PORT" && /^(tcp|udp|sctp):\/\//.test(text));
}

/** `BODY_BYTES` for `bodyBytes`. */
function variableName(key: string): string {
  return key.replaceAll(/([A-Z])/g, "_$1").toUpperCase();
}

function pathOf(name: string, schema: v.GenericSchema): string[] | null {
  const path: string[] = [];
  for (const part of name.slice("ATOLL_".length).split("__")) {
    const key = keysOf(schemaAt(schema, path)).find((known) =>
      known !== "$schema" && variableName(known) === part
    );
    if (key === undefined) return null;
    path.push(key);
  }
  return path;
}

/** All names that mean something. */
export function knownNames(schema: v.GenericSchema): string[] {
  const names = [...ELSEWHERE, ...Object.keys(SHORT)];
  const walk = (path: string[], prefix: string) => {
    for (const key of keysOf(schemaAt(schema, path))) {
      if (key === "$schema") continue;
      const name = `${prefix}${variableName(key)}`;
      names.push(name);
      walk([...path, key], `${name}__`);
    }
  };
  walk([], "ATOLL_");
  return names;
}

/** The text as the type that the schema wants there; a text that does not fit stays a text. */
function valueOf(text: string, path: readonly string[], schema: v.GenericSchema): unknown {
  switch (schemaAt(schema, path)?.type) {
    case "number":
      return /^-?\d{1,15}(\.\d+)?$/.test(text) ? Number(text) : text;
    case "boolean":
      return text === "true" || text === "1"
        ? true
        : text === "false" || text === "0"
        ? false
        : text;
    case "array":
      return text.split(path[0] === "plugins" ? ":" : ",").filter((part) => part !== "");
    case "strict_object":
    case "record":
      try {
        return JSON.parse(text);
      } catch {
        return text;
      }
    default:
      return text;
  }
}
