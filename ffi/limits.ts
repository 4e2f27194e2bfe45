/**
 * The limits of a component's calls, as the engine reads them.
 *
 * Owns: their names and units. The defaults are the engine's own (`native/sandbox/src/limits.rs`).
 */

/** Limits of one component. Each is summed over everything one call makes the host hold. */
export interface ComponentLimits {
  /** Linear memory of all memories of the instance, in bytes. */
  readonly memoryBytes: number;
  /** CPU time of the guest, in milliseconds. */
  readonly cpuMs: number;
  /** Wall clock from submit to reply, in milliseconds. */
  readonly wallMs: number;
  /** Result of one call, in bytes. */
  readonly outputBytes: number;
  /** Standard output and standard error together, in bytes. */
  readonly logBytes: number;
  /** Elements of all tables of the instance. */
  readonly tableElements: number;
  /** Core instances of one component instance. */
  readonly instances: number;
  /** Resource handles the guest may hold. */
  readonly resources: number;
  /** HTTP header fields of one message: names and values, in bytes. */
  readonly fieldBytes: number;
  /** Calls running at once. */
  readonly concurrency: number;
  /** Calls waiting for one of those places. */
  readonly queue: number;
  /** Calls a second, and as many at once after a quiet second; 0: any number. */
  readonly requestsPerSecond: number;
  /** Linear memory over all instances of the component, in bytes; 0: any amount. */
  readonly pluginMemoryBytes: number;
}
