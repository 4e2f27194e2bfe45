/**
 * The one error type of Atoll and its closed list of codes.
 *
 * Owns: codes, their meaning, typed data. Must not know HTTP or MCP: only `src/http` and `src/mcp`
 * turn an error into protocol. Messages read `Cannot VERB NOUN "NAME": REASON`, and say what to do.
 */

/** Every code an {@link AtollError} can have. Codes shared with native statuses have the same name there. */
export type ErrorCode =
  // What the caller of a tool can cause.
  | "invalid_argument"
  | "unknown_tool"
  | "not_found"
  | "too_large"
  | "overloaded"
  | "rate_limited"
  | "deadline"
  | "cancelled"
  | "denied"
  // What a guest can cause.
  | "limit"
  | "trap"
  | "panic"
  // What the operator can cause.
  | "config"
  | "manifest"
  | "component"
  | "build"
  | "unsupported"
  | "address_in_use"
  // What the machine can cause.
  | "io"
  | "no_memory"
  | "closed"
  | "version"
  | "internal";

/** Facts beside the message, for programs. Which fields are set depends on the code. */
export interface ErrorData {
  /** `invalid_argument`: where, as in `arguments.items[3].price`. `config`: the key. */
  readonly path?: string;
  /** `invalid_argument`: the WIT type that was expected. */
  readonly expected?: string;
  /**
   * `limit`: which one: memory, pluginMemory, cpu, wall, stack, output, log, tables, instances,
   * resources, fields, hostCall, random. `rate_limited`: rate. `overloaded`: queue, concurrency, calls, where it is one.
   */
  readonly limit?: string;
  /** `limit`, `rate_limited`: its value, in the unit of its key. */
  readonly value?: number;
  /** `limit`, `rate_limited`: the configuration key that changes it, as in `limits.memoryBytes`. */
  readonly key?: string;
  /** `overloaded`, `rate_limited`: seconds after which another try makes sense. */
  readonly retryAfterSeconds?: number;
  /** The plugin concerned. */
  readonly plugin?: string;
  /** `component`: imports that Atoll does not know. */
  readonly imports?: readonly string[];
  /** The nearest known name, for a wrong key, tool or command. */
  readonly nearest?: string;
}

/** An error that Atoll itself raises; everything else that is thrown is a bug and becomes `internal`. */
export class AtollError extends Error {
  override readonly name = "AtollError";

  constructor(
    readonly code: ErrorCode,
    message: string,
    readonly data: ErrorData = {},
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }

  /** What a program sees: `{ code, message, ...data }`. */
  toJSON(): Record<string, unknown> {
    return { code: this.code, message: this.message, ...this.data };
  }
}

/** Any thrown value as an AtollError; an unknown one becomes `internal` with its cause kept. */
export function toAtollError(thrown: unknown): AtollError {
  if (thrown instanceof AtollError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new AtollError("internal", message, {}, { cause: thrown });
}
