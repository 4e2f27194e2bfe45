/**
 * What the size of the native engine's pool means for calls and their limits.
 *
 * Owns: those checks. Pure, as those of `doctor_checks.ts`, which says what a finding is.
 */
import { unreachableLimits } from "../config/reachable.ts";
import type { Config } from "../config/schema.ts";
import type { Finding, NativeState } from "./doctor_checks.ts";

export const SMALLER_POOL =
  "the pool of instances is smaller, and more calls are refused as overloaded";

/** Nothing is said about an engine that was not opened. */
export function poolFindings(native: NativeState): Finding[] {
  const { pool } = native;
  if (pool === null) return [];
  const check = "instances";
  const { instances, instancesAsked } = pool;
  const detail = `the native engine has room for ${instances} instances`;
  if (instances >= instancesAsked) return [{ check, verdict: "ok", detail }];
  return [{
    check,
    verdict: "degraded",
    detail: `${detail}, ${instancesAsked} are usual`,
    consequence: `${SMALLER_POOL}; raise \`ulimit -v\``,
  }];
}

/** Limits that another one comes before. */
export function reachFindings(native: NativeState, config: Config): Finding[] {
  return unreachableLimits(config, native.pool?.instances ?? null).map((detail) => ({
    check: "unreachable",
    verdict: "degraded",
    detail,
    consequence: "it never takes effect; lower it, or raise the other",
  }));
}
