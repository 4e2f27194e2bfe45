/**
 * How long an instance of a plugin lives. Manifests, both engines and the messages use these names;
 * `native/sandbox/src/isolation.rs` reads the same JSON, without `shared`.
 *
 * A key stands for whom a call is made for. What one key's calls leave in an instance no other key's
 * call sees, unless the plugin says that it is `shared`.
 */

/** Each call has a fresh instance. */
export interface CallIsolation {
  readonly mode: "call";
}

/** An instance serves several calls of its key. */
export interface ReuseIsolation {
  readonly mode: "reuse";
  /** Calls an instance. */
  readonly calls: number;
  /** Milliseconds after which one that rests is dropped. */
  readonly idleMs: number;
  /** All keys use the same instances. */
  readonly shared: boolean;
}

/** One instance serves all calls of its key, one at a time. */
export interface ActorIsolation {
  readonly mode: "actor";
  /** Milliseconds without a call after which it ends; null: never. */
  readonly idleMs: number | null;
  /** All keys use the same instance. */
  readonly shared: boolean;
}

export type Isolation = CallIsolation | ReuseIsolation | ActorIsolation;

export const CALL_ISOLATION: CallIsolation = { mode: "call" };

/** In one line, for people. */
export function isolationText(isolation: Isolation): string {
  switch (isolation.mode) {
    case "call":
      return "call: a fresh instance for each call";
    case "reuse":
      return `reuse: ${isolation.calls} calls an instance, ${isolation.idleMs} ms idle, ` +
        owners(isolation.shared);
    case "actor": {
      const idle = isolation.idleMs === null ? "for good" : `until ${isolation.idleMs} ms idle`;
      return `actor: one instance ${idle}, one call at a time, ${owners(isolation.shared)}`;
    }
  }
}

function owners(shared: boolean): string {
  return shared ? "shared by all principals" : "of one tenant and principal";
}
