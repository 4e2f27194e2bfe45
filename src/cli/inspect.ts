/**
 * `atoll inspect`: what a component is before anybody runs it.
 *
 * Owns: the report. The component is compiled and checked as for serving, and not called.
 */
import { componentOf } from "../plugins/build.ts";
import { discover } from "../plugins/discovery.ts";
import { loadComponent, type PluginProfile, profileOf } from "../plugins/plugin.ts";
import { deriveTools, type Tool, type Unmapped } from "../plugins/tools.ts";
import { grantNames } from "../core/grants.ts";
import { AtollError } from "../core/errors.ts";
import { type Isolation, isolationText } from "../core/isolation.ts";
import type { LoadedComponent } from "../sandbox/sandbox.ts";
import { readWorld } from "../sandbox/wit/resolve.ts";
import { openEngine } from "../server/engines.ts";
import { printable } from "../telemetry/log.ts";
import { type Grant, grantsOf } from "./grants.ts";
import { EXIT, type Output } from "./output.ts";
import type { CommandContext } from "./run.ts";
import { settingsOf } from "./settings.ts";
import { resolve } from "node:path";

/** What `--json` prints. */
export interface Inspection {
  readonly id: string;
  readonly digest: string;
  readonly bytes: number;
  readonly engine: string;
  readonly http: boolean;
  readonly isolation: Isolation;
  readonly tools: readonly Tool[];
  readonly unmapped: readonly Unmapped[];
  readonly imports: readonly string[];
  /** What its imports ask for. */
  readonly grants: readonly Grant[];
  /** Paths of what the configuration grants, as in `env.LANG`; values are not shown. */
  readonly granted: readonly string[];
  /** Paths of what the manifest asks for and nobody grants. */
  readonly missingGrants: readonly string[];
  readonly wit: string;
}

/** @throws AtollError component: what is wrong with the file */
export async function inspect(context: CommandContext): Promise<number> {
  const { config, log } = settingsOf(context);
  const path = resolve(context.cwd, context.operands[0] ?? "");
  const { found, broken } = discover([path]);
  const [plugin] = found;
  if (broken[0] !== undefined) throw broken[0].error;
  if (plugin === undefined || found.length > 1) {
    throw new AtollError(
      "config",
      `Cannot inspect "${path}": expected a .wasm file or one plugin's folder`,
    );
  }
  const bytes = await componentOf(plugin, {
    cacheDir: config.cacheDir,
    onProgress: (line) => log.info(line),
  });
  const sandbox = await openEngine(config, log);
  try {
    const profile = profileOf(plugin, config);
    const component = await loadComponent(sandbox, profile, bytes);
    const report = inspectionOf(profile, bytes.length, component);
    if (context.flags.has("json")) context.output.out(`${JSON.stringify(report)}\n`);
    else print(report, context.output);
    await component.unload();
  } finally {
    await sandbox.close();
  }
  return EXIT.ok;
}

function inspectionOf(
  profile: PluginProfile,
  bytes: number,
  component: LoadedComponent,
): Inspection {
  const { id, prefix } = profile;
  const { tools, unmapped } = deriveTools(component.wit, component.functions, prefix);
  const imports = readWorld(component.wit).imports.map((item) =>
    item.kind === "interface" ? item.name : item.function.name
  );
  return {
    id,
    digest: component.digest,
    bytes,
    engine: component.engine,
    http: component.http,
    isolation: profile.isolation,
    tools,
    unmapped,
    imports,
    grants: grantsOf(imports).grants,
    granted: grantNames(profile.grants),
    missingGrants: profile.missingGrants.map(({ name }) => name),
    wit: component.wit,
  };
}

function print(report: Inspection, output: Output): void {
  const lines: string[] = [];
  const section = (title: string, rows: readonly string[]) => {
    lines.push("", `${title}${rows.length === 0 ? ": none" : ""}`);
    lines.push(...rows.map((row) => `  ${row}`));
  };
  lines.push(`component ${report.id}: ${report.bytes} bytes, sha256 ${report.digest}`);
  lines.push(`isolation ${isolationText(report.isolation)}`);
  section(
    "Tools",
    report.tools.flatMap((tool) => [
      tool.name + (tool.description === undefined ? "" : `: ${firstLine(tool.description)}`),
      `  input   ${JSON.stringify(tool.inputSchema)}`,
      ...(tool.outputSchema === undefined
        ? []
        : [`  output  ${JSON.stringify(tool.outputSchema)}`]),
    ]),
  );
  if (report.unmapped.length > 0) {
    section(
      "Exports that are no tools",
      report.unmapped.map((item) =>
        `${item.interface === null ? "" : `${item.interface}#`}${item.name}: ${item.reason}`
      ),
    );
  }
  section("Routes", report.http ? [`/http/${report.id}/ (wasi:http)`] : []);
  section(
    "Grants asked for; none is given by default",
    report.grants.map((grant) => `${grant.name}: ${grant.meaning} (${grant.imports.join(", ")})`),
  );
  section("Granted", report.granted);
  if (report.missingGrants.length > 0) {
    section("Wanted by its manifest and not granted", report.missingGrants);
  }
  section("Imports", report.imports);
  section("WIT", report.wit.trimEnd().split("\n"));
  // Names and documentation are the component's own text.
  output.out(lines.map(printable).join("\n") + "\n");
}

function firstLine(text: string): string {
  return text.split("\n")[0] ?? "";
}
