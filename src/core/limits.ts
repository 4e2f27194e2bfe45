/**
 * The limits of a plugin's calls: names, units, defaults. Configuration, manifests, both engines
 * and the messages use these names; `native/sandbox/limits.rs` reads the same JSON.
 */

/** Limits of one plugin. Each is summed over everything one call makes the host hold. */
export interface Limits {
  /** Linear memory of all memories of the instance, in bytes. */
  readonly memoryBytes: number;
  /** CPU time of the guest, in milliseconds. */
  readonly cpuMs: number;
  /** Wall clock from submit to reply, host calls and queueing included, in milliseconds. */
  readonly wallMs: number;
  /** Result or response body of one tool call, in bytes. Streamed HTTP bodies do not count. */
  readonly outputBytes: number;
  /** Standard output and standard error together, in bytes; a line counts as 16 at least. */
  readonly logBytes: number;
  /** Elements of all tables of the instance. */
  readonly tableElements: number;
  /** Core instances of one component instance; as many memories, twice as many tables. */
  readonly instances: number;
  /** Resource handles the guest may hold. */
  readonly resources: number;
  /**
   * HTTP header fields of one message: names and values, in bytes. All messages that a call makes
   * have eight times as much together.
   */
  readonly fieldBytes: number;
  /** What HTTP requests of one call send and receive together, in bytes; TLS's own not counted. */
  readonly egressBytes: number;
  /** Connections that one call has open at once; of the plugin's as many rest between calls. */
  readonly connections: number;
  /**
   * Calls running at once. A call whose instance has more than a memory, 3 tables or 4 core
   * instances counts as many times as it takes of the scarcest: all plugins share one pool.
   */
  readonly concurrency: number;
  /** Calls waiting for one of those places. */
  readonly queue: number;
  /**
   * Calls a second over all callers, and as many at once after a quiet second; 0: any number. It
   * bounds what comes, `concurrency` what runs.
   */
  readonly requestsPerSecond: number;
  /**
   * Linear memory over all instances of the plugin, those at rest too, in bytes; 0: any amount. An
   * instance that rests gives way to a call that needs its memory, an actor does not.
   */
  readonly pluginMemoryBytes: number;
}

export const DEFAULT_LIMITS: Limits = {
  memoryBytes: 64 * 1024 * 1024,
  cpuMs: 1_000,
  wallMs: 30_000,
  outputBytes: 1024 * 1024,
  logBytes: 64 * 1024,
  tableElements: 100_000,
  instances: 64,
  resources: 1_000,
  fieldBytes: 128 * 1024,
  egressBytes: 64 * 1024 * 1024,
  connections: 8,
  concurrency: 64,
  queue: 1_000,
  requestsPerSecond: 0,
  pluginMemoryBytes: 0,
};
