/**
 * `atoll doctor`: what this machine offers, what is degraded, and why.
 *
 * Owns: asking and printing. Verdicts come from `doctor_checks.ts`.
 */
import { CHECKOUT, findNative, nativeObstacle } from "../../native/build/build.ts";
import type { Config } from "../config/schema.ts";
import { toAtollError } from "../core/errors.ts";
import { ATOLL_VERSION } from "../core/version.ts";
import { printable } from "../telemetry/log.ts";
import { type Finding, judge, type NativeState, type Verdict } from "./doctor_checks.ts";
import { readHost } from "./host_facts.ts";
import { EXIT, type Output } from "./output.ts";
import type { CommandContext } from "./run.ts";
import { settingsOf } from "./settings.ts";

/** The status is 1 when something does not work, 0 when it is merely degraded. */
export async function doctor(context: CommandContext): Promise<number> {
  const { config } = settingsOf(context);
  const native = await nativeState(config);
  const findings = judge(readHost(config, native.library), config, native);
  const failed = findings.some((finding) => finding.verdict === "failed");
  if (context.flags.has("json")) {
    const engine = native.mapped === null ? "portable" : "native";
    const report = { version: ATOLL_VERSION, ok: !failed, engine, findings };
    context.output.out(`${JSON.stringify(report)}\n`);
  } else print(findings, context.output);
  return failed ? EXIT.failed : EXIT.ok;
}

/** Opens the native engine too: a library that is there is not yet one that works. */
async function nativeState(config: Config): Promise<NativeState> {
  const obstacle = await answer(nativeObstacle);
  const place = { checkout: CHECKOUT, cache: config.cacheDir };
  const found = await findNative(place).catch(() => null);
  const closed = { mapped: null, asymmetricFences: null, arena: null, cache: null, pool: null };
  const state = {
    library: found?.core ?? null,
    ...closed,
    obstacle,
    failure: null,
    refused: false,
  };
  if (found === null || config.engine === "portable") return state;
  const { openNative } = await import("../server/engines.ts");
  try {
    const sandbox = await openNative(found, config);
    const { asymmetricFences } = sandbox.stats();
    const stats = await sandbox.engineStats();
    await sandbox.close();
    const { mapped, arena } = sandbox;
    return { ...state, mapped, asymmetricFences, arena, cache: stats, pool: stats };
  } catch (thrown) {
    const { code, message } = toAtollError(thrown);
    return { ...state, failure: message, refused: code === "config" };
  }
}

/** Asking for compilers fails without the permission to run them; that is an answer too. */
async function answer(ask: () => Promise<string | null>): Promise<string | null> {
  try {
    return await ask();
  } catch (thrown) {
    return toAtollError(thrown).message;
  }
}

const LABELS: Record<Verdict, string> = { ok: "ok", degraded: "degraded", failed: "FAILED" };

function print(findings: readonly Finding[], output: Output): void {
  const width = Math.max(...findings.map((finding) => finding.check.length));
  output.out(`Atoll ${ATOLL_VERSION}\n\n`);
  for (const finding of findings) {
    const label = LABELS[finding.verdict].padEnd(LABELS.degraded.length);
    output.out(`  ${label}  ${finding.check.padEnd(width)}  ${printable(finding.detail)}\n`);
    if (finding.consequence !== undefined) {
      const indent = " ".repeat(LABELS.degraded.length + width + 6);
      output.out(`${indent}${printable(finding.consequence)}\n`);
    }
  }
  const count = (verdict: Verdict) =>
    findings.filter((finding) => finding.verdict === verdict).length;
  output.out(
    `\n${count("ok")} ok, ${count("degraded")} degraded, ${count("failed")} failed\n`,
  );
}
