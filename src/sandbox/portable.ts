/**
 * The portable engine: components transpiled by jco, run in workers of this process.
 *
 * Serves where the native libraries cannot be had and while they are being built. It promises less
 * than the native engine; `docs/engines.md` says what. Must not know MCP, HTTP servers or plugins.
 */
import { createHash } from "node:crypto";
import { AtollError } from "../core/errors.ts";
import { grantNames, NO_GRANTS } from "../core/grants.ts";
import type { Limits } from "../core/limits.ts";
import { PortableCall } from "./portable_call.ts";
import { PortableCompiler, type Transpiled } from "./portable_compiler.ts";
import { guardModule } from "./portable_core.ts";
import { exchange } from "./portable_exchange.ts";
import { CallGuard } from "./portable_guard.ts";
import { GuestOutput } from "./portable_log.ts";
import { GuestProgress } from "./portable_progress.ts";
import { type CompiledComponent, type FunctionPlace, SHARED_WORDS } from "./portable_protocol.ts";
import { PortableQueue } from "./portable_queue.ts";
import { PortableResidents } from "./portable_residents.ts";
import { unknownImports, wasiImports } from "./portable_wasi.ts";
import { WasmError } from "./portable_wasm.ts";
import type {
  CallOptions,
  CallOutcome,
  ComponentSpec,
  ExportedFunction,
  LoadedComponent,
  Sandbox,
  SandboxRequest,
  SandboxResponse,
} from "./sandbox.ts";
import { countNodes, TYPE_NODES_MAX } from "./value_types.ts";
import { unserializable, type World } from "./wit/model.ts";
import { readWorld } from "./wit/resolve.ts";

const PAGE_BYTES = 65_536;

export interface PortableSandboxOptions {
  /** Atoll's cache; transpiled components go below it. Absent: memory only. */
  readonly cacheDir?: string;
}

/** Opens the portable engine; nothing is started before the first load. */
export function openPortableSandbox(options: PortableSandboxOptions): Promise<Sandbox> {
  return Promise.resolve(new PortableSandbox(new PortableCompiler(options.cacheDir)));
}

class PortableSandbox implements Sandbox {
  readonly kind = "portable";
  readonly #compiler: PortableCompiler;
  readonly #components = new Set<PortableComponent>();
  #closed = false;

  constructor(compiler: PortableCompiler) {
    this.#compiler = compiler;
  }

  async load(spec: ComponentSpec): Promise<LoadedComponent> {
    this.#refuseClosed(spec.id);
    refuseGrants(spec);
    const started = performance.now();
    const digest = createHash("sha256").update(spec.bytes).digest("hex");
    const { transpiled, cached } = await this.#compiler.compile(spec.id, digest, spec.bytes);
    this.#refuseClosed(spec.id);
    const world = readWorld(transpiled.wit);
    refuseUnknownImports(spec.id, world);
    const compiled = guarded(spec, transpiled);
    const httpInterface = httpExport(world);
    const queue = new PortableQueue(spec.id, {
      component: compiled,
      limits: spec.limits,
      config: spec.config ?? {},
      httpInterface,
    }, residentsOf(spec));
    await queue.warm();
    if (this.#closed) await queue.close();
    this.#refuseClosed(spec.id);
    const component = new PortableComponent(spec, queue, {
      digest,
      wit: transpiled.wit,
      places: places(world),
      http: httpInterface !== null,
      origin: { kind: cached ? "cache" : "compiled", ms: performance.now() - started },
    }, () => this.#components.delete(component));
    this.#components.add(component);
    return component;
  }

  async close(): Promise<void> {
    this.#closed = true;
    const components = [...this.#components].map((component) => component.close());
    await Promise.all([this.#compiler.close(), ...components]);
  }

  /** A load that began before the end must not leave a worker behind it. */
  #refuseClosed(plugin: string): void {
    if (!this.#closed) return;
    throw new AtollError("closed", `Cannot load plugin "${plugin}": the sandbox was closed`, {
      plugin,
    });
  }
}

/** Less than what was granted would fail later, at a call, in the guest's own words. */
function refuseGrants({ id, grants }: ComponentSpec): void {
  const names = grantNames({ ...NO_GRANTS, ...grants });
  if (names.length === 0) return;
  throw new AtollError(
    "unsupported",
    `Cannot load plugin "${id}": the portable engine cannot grant ${names.join(", ")}; ` +
      "it needs the native engine",
    { plugin: id },
  );
}

interface Facts {
  readonly digest: string;
  readonly wit: string;
  readonly places: readonly FunctionPlace[];
  readonly http: boolean;
  readonly origin: LoadedComponent["origin"];
}

class PortableComponent implements LoadedComponent {
  readonly engine = "portable";
  readonly digest: string;
  readonly wit: string;
  readonly functions: readonly ExportedFunction[];
  readonly http: boolean;
  readonly origin: LoadedComponent["origin"];
  readonly #spec: ComponentSpec;
  readonly #queue: PortableQueue;
  readonly #places: readonly FunctionPlace[];
  readonly #gone: () => void;
  #unloading: Promise<void> | null = null;

  constructor(spec: ComponentSpec, queue: PortableQueue, facts: Facts, gone: () => void) {
    // The binary is not needed again.
    this.#spec = { ...spec, bytes: new Uint8Array(0) };
    this.#queue = queue;
    this.#places = facts.places;
    this.#gone = gone;
    this.digest = facts.digest;
    this.wit = facts.wit;
    this.functions = facts.places.map((place) => ({
      interface: place.interface,
      name: place.function.name,
    }));
    this.http = facts.http;
    this.origin = facts.origin;
  }

  call(index: number, argumentsJson: string, options?: CallOptions): Promise<CallOutcome> {
    const place = this.#places[index];
    if (place === undefined) {
      throw new AtollError("internal", `Plugin "${this.#spec.id}" has no function ${index}`);
    }
    return new Promise((resolve, reject) => {
      const message = { op: "call", place, argumentsJson } as const;
      const call = new PortableCall(this.#spec, this.#queue, message, {
        ended: ({ kind, json }) => resolve({ kind, json }),
        failed: reject,
      }, options);
      call.submit();
    });
  }

  handle(request: SandboxRequest, options?: CallOptions): Promise<SandboxResponse> {
    if (!this.http) {
      throw new AtollError("internal", `Plugin "${this.#spec.id}" has no HTTP handler`);
    }
    return exchange(this.#spec, this.#queue, request, options);
  }

  unload(): Promise<void> {
    return this.#unloading ??= this.#queue.drain().then(this.#gone);
  }

  /** Ends it at once. */
  async close(): Promise<void> {
    await this.#queue.close();
    this.#gone();
  }
}

/** What its calls leave; null where no instance outlives its call. */
function residentsOf({ id, isolation, limits }: ComponentSpec): PortableResidents | null {
  if (isolation === undefined || isolation.mode === "call") return null;
  return new PortableResidents(id, isolation, limits);
}

function refuseUnknownImports(id: string, world: World): void {
  const unknown = unknownImports(world, KNOWN_IMPORTS);
  if (unknown.length === 0) return;
  throw new AtollError(
    "component",
    `Cannot load plugin "${id}": the component imports what Atoll does not offer: ` +
      unknown.join(", ") + hintFor(unknown),
    { plugin: id, imports: unknown },
  );
}

function hintFor(unknown: readonly string[]): string {
  const newer = unknown.some((name) => /^wasi:[^@]*@0\.3(?:\.|$)/.test(name));
  return newer ? "; WASI 0.3 takes the native engine" : "";
}

/** The names that a guest is given; the functions behind them are not called here. */
const KNOWN_IMPORTS = knownImports();

function knownImports() {
  const none: Limits = {
    memoryBytes: 0,
    cpuMs: 0,
    wallMs: 0,
    outputBytes: 0,
    logBytes: 0,
    tableElements: 0,
    instances: 0,
    resources: 0,
    fieldBytes: 0,
    egressBytes: 0,
    connections: 0,
    concurrency: 1,
    queue: 0,
    requestsPerSecond: 0,
    pluginMemoryBytes: 0,
  };
  const guard = new CallGuard(0, none, 0, new SharedArrayBuffer(SHARED_WORDS * 4));
  const output = new GuestOutput(guard, () => {});
  return wasiImports(guard, output, new GuestProgress(output, () => {}), {});
}

function guarded(spec: ComponentSpec, { source, modules }: Transpiled): CompiledComponent {
  const pagesMax = Math.floor(spec.limits.memoryBytes / PAGE_BYTES);
  try {
    return {
      source,
      modules: modules.map(([name, bytes]) => [name, guardModule(bytes, pagesMax)]),
    };
  } catch (thrown) {
    if (!(thrown instanceof WasmError)) throw thrown;
    throw new AtollError(
      "component",
      `Cannot load plugin "${spec.id}" on the portable engine: ${thrown.message}`,
      { plugin: spec.id },
      { cause: thrown },
    );
  }
}

function httpExport(world: World): string | null {
  const found = world.exports.find((item) =>
    item.kind === "interface" && item.name.startsWith("wasi:http/incoming-handler@0.2")
  );
  return found?.kind === "interface" ? found.name : null;
}

/** Functions that can be called with JSON. */
function places(world: World): FunctionPlace[] {
  const all = world.exports.flatMap((item): FunctionPlace[] => {
    if (item.kind === "function") return [{ interface: null, function: item.function }];
    if (item.name.startsWith("wasi:")) return [];
    return item.functions.map((func) => ({ interface: item.name, function: func }));
  });
  return all.filter(({ function: func }) => {
    const types = [...func.params.map((param) => param.type), func.result];
    const nodes = types.reduce((sum, type) => sum + countNodes(type), 0);
    return func.kind === "free" && !func.async && nodes <= TYPE_NODES_MAX &&
      types.every((type) => unserializable(type) === null);
  });
}
