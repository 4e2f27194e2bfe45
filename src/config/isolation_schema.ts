/**
 * The schema of a plugin's isolation, which its manifest names and the configuration may change.
 *
 * Owns: what may be written, its defaults and descriptions. The meaning is that of
 * `src/core/isolation.ts`.
 */
import * as v from "valibot";
import { CALL_ISOLATION } from "../core/isolation.ts";
import { count } from "./limits_schema.ts";

/** A day: what rests longer than that rests for good. */
const LONGEST_IDLE_MS = 24 * 60 * 60 * 1000;

const shared = v.optional(
  v.pipe(
    v.boolean(),
    v.description(
      "True: calls of all tenants and principals use the same instances; what one leaves in the " +
        "plugin's memory the next may see.",
    ),
  ),
  false,
);

const isolationModes = v.variant("mode", [
  v.strictObject({
    mode: v.pipe(v.literal("call"), v.description("A fresh instance for each call.")),
  }),
  v.strictObject({
    mode: v.pipe(v.literal("reuse"), v.description("An instance serves several calls.")),
    calls: v.optional(count(1, "Calls that one instance serves.", 1_000_000_000), 1_000),
    idleMs: v.optional(
      count(1, "Milliseconds after which an instance that rests is dropped.", LONGEST_IDLE_MS),
      60_000,
    ),
    shared,
  }),
  v.strictObject({
    mode: v.pipe(
      v.literal("actor"),
      v.description("One instance serves all calls, one at a time, and keeps its state."),
    ),
    idleMs: v.optional(
      v.nullable(
        count(
          1,
          "Milliseconds without a call after which it ends and its state is lost; null: never.",
          LONGEST_IDLE_MS,
        ),
      ),
      null,
    ),
    shared,
  }),
]);

/** How long an instance lives; "call" is short for `{ "mode": "call" }`. */
export const isolationSchema = v.pipe(
  v.union(
    [v.literal("call"), isolationModes],
    '"call" or an object whose mode is "call", "reuse" or "actor"',
  ),
  v.description("How long an instance lives; `call`: a fresh one for each call."),
  v.transform((isolation) => isolation === "call" ? CALL_ISOLATION : isolation),
);
