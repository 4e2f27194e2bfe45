/**
 * Components to code that a worker can run: checked, transpiled, kept.
 *
 * Owns the compiler's worker and the cache on disk. A cached file is used when its digest is right
 * and its folder belongs to this user alone, since what is in it will be run; anything else is made
 * again. Must not know limits or calls.
 */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { Worker } from "node:worker_threads";
import { AtollError } from "../core/errors.ts";
import type { CompileReply, CompileRequest } from "./portable_compiler_worker.ts";
import { refusePrecompiled } from "./precompiled.ts";

/** A component's WIT and code, the core modules as jco left them. */
export interface Transpiled {
  readonly wit: string;
  readonly source: string;
  readonly modules: readonly (readonly [name: string, bytes: Uint8Array])[];
}

/** Part of a cached file's name: another transpiler or another layout makes others. */
const FORMAT = "jco-transpile-0.15.0-2";

/** How long a component may take to be transpiled: 18 MB of Python take 10 s on a slow machine. */
const COMPILE_MS_MAX = 120_000;

/** How long the worker stays for another component. */
const IDLE_MS = 5_000;

/** Components kept in memory, so that a second load of the same one transpiles nothing. */
const KEPT_MAX = 16;

export class PortableCompiler {
  readonly #folder: string | null;
  readonly #kept = new Map<string, Transpiled>();
  #worker: Worker | null = null;
  #idle: ReturnType<typeof setTimeout> | undefined;
  /** One component at a time. */
  #turn: Promise<unknown> = Promise.resolve();
  readonly #closing = new AbortController();

  constructor(cacheDir: string | undefined) {
    this.#folder = cacheDir === undefined ? null : privateFolder(join(cacheDir, "portable"));
  }

  /**
   * @returns The code, and whether it was there already.
   * @throws AtollError component; closed
   */
  async compile(
    id: string,
    digest: string,
    bytes: Uint8Array,
  ): Promise<{ transpiled: Transpiled; cached: boolean }> {
    checkHeader(id, bytes);
    const known = this.#kept.get(digest) ?? this.#read(digest);
    if (known !== null) {
      this.#keep(digest, known);
      return { transpiled: known, cached: true };
    }
    const turn = this.#turn.then(() => this.#transpile(id, bytes));
    this.#turn = turn.catch(() => {});
    const transpiled = await turn;
    this.#keep(digest, transpiled);
    this.#write(digest, transpiled);
    return { transpiled, cached: false };
  }

  /** Ends what is being compiled and what waits for it. */
  async close(): Promise<void> {
    this.#closing.abort();
    clearTimeout(this.#idle);
    await this.#turn;
    await this.#worker?.terminate();
    this.#worker = null;
  }

  async #transpile(id: string, bytes: Uint8Array): Promise<Transpiled> {
    const closing = this.#closing.signal;
    if (closing.aborted) throw closed(id);
    clearTimeout(this.#idle);
    const worker = this.#worker ??= new Worker(
      new URL("./portable_compiler_worker.ts", import.meta.url),
    );
    worker.ref();
    const reply = await ask(worker, { bytes }, closing);
    if (reply === null) this.#worker = null;
    if (closing.aborted) throw closed(id);
    if (reply !== null) {
      worker.unref();
      this.#idle = setTimeout(() => {
        void worker.terminate();
        this.#worker = null;
      }, IDLE_MS);
      // A timer must not keep a process alive that has nothing else to do.
      this.#idle.unref();
    }
    const problem = reply === null
      ? `transpiling it took longer than ${COMPILE_MS_MAX / 1000} s or used up the memory`
      : "problem" in reply
      ? reply.problem
      : null;
    if (problem !== null || reply === null || "problem" in reply) {
      throw new AtollError("component", `Cannot load plugin "${id}": ${problem}`, { plugin: id });
    }
    return reply;
  }

  #keep(digest: string, transpiled: Transpiled): void {
    this.#kept.delete(digest);
    this.#kept.set(digest, transpiled);
    const oldest = this.#kept.keys().next().value;
    if (this.#kept.size > KEPT_MAX && oldest !== undefined) this.#kept.delete(oldest);
  }

  #path(digest: string): string | null {
    return this.#folder === null ? null : join(this.#folder, `${digest}.${FORMAT}`);
  }

  #read(digest: string): Transpiled | null {
    const path = this.#path(digest);
    if (path === null) return null;
    try {
      return unpack(new Uint8Array(readFileSync(path)));
    } catch {
      // Absent, or not readable: it is made again.
      return null;
    }
  }

  #write(digest: string, transpiled: Transpiled): void {
    const path = this.#path(digest);
    if (path === null) return;
    const unfinished = `${path}.${process.pid}`;
    try {
      writeFileSync(unfinished, pack(transpiled), { mode: 0o600 });
      renameSync(unfinished, path);
    } catch {
      // A full disk costs the next start some time, nothing else.
    }
  }
}

function closed(plugin: string): AtollError {
  return new AtollError("closed", `Cannot load plugin "${plugin}": the sandbox was closed`, {
    plugin,
  });
}

/** What the worker answers; null when it had to be given up, or the signal said so. */
function ask(
  worker: Worker,
  request: CompileRequest,
  signal: AbortSignal,
): Promise<CompileReply | null> {
  return new Promise((resolve) => {
    const end = (reply: CompileReply | null) => {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
      worker.removeAllListeners();
      if (reply === null) void worker.terminate();
      resolve(reply);
    };
    const abort = () => end(null);
    const timer = setTimeout(() => end(null), COMPILE_MS_MAX);
    signal.addEventListener("abort", abort);
    worker.once("message", end);
    worker.once("error", () => end(null));
    worker.once("exit", () => end(null));
    worker.postMessage(request);
  });
}

/** Refuses what is no component, before a transpiler that also reads text sees it. */
function checkHeader(id: string, bytes: Uint8Array): void {
  const refuse = (reason: string): never => {
    throw new AtollError("component", `Cannot load plugin "${id}": ${reason}`, { plugin: id });
  };
  refusePrecompiled(id, bytes);
  const magic = [0x00, 0x61, 0x73, 0x6d];
  if (bytes.length < 8) refuse(`${bytes.length} bytes are no WebAssembly component`);
  if (magic.some((byte, index) => bytes[index] !== byte)) {
    refuse("it is no WebAssembly: the first bytes are not \\0asm");
  }
  if (bytes[6] === 0 && bytes[4] === 1) {
    refuse("it is a core module, not a component; wrap it with `wasm-tools component new`");
  }
  if (bytes[4] !== 0x0d || bytes[5] !== 0 || bytes[6] !== 1 || bytes[7] !== 0) {
    refuse("it has an unknown version of the component format");
  }
}

/** A folder that is this user's alone, or null where that cannot be had. */
function privateFolder(path: string): string | null {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    const { uid, mode } = statSync(path);
    const own = process.getuid?.();
    return own === undefined || (uid === own && (mode & 0o022) === 0) ? path : null;
  } catch {
    return null;
  }
}

const DIGEST_BYTES = 32;

/** Digest, length of the table of contents, the table, the parts one after another. */
function pack({ wit, source, modules }: Transpiled): Uint8Array {
  const encoder = new TextEncoder();
  const parts = [encoder.encode(wit), encoder.encode(source), ...modules.map(([, bytes]) => bytes)];
  const table = encoder.encode(JSON.stringify({
    lengths: parts.map((part) => part.length),
    names: modules.map(([name]) => name),
  }));
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, table.length, true);
  const content = Buffer.concat([length, table, ...parts]);
  return Buffer.concat([createHash("sha256").update(content).digest(), content]);
}

function unpack(file: Uint8Array): Transpiled | null {
  const content = file.subarray(DIGEST_BYTES);
  const digest = createHash("sha256").update(content).digest();
  if (file.length < DIGEST_BYTES + 4 || digest.compare(file, 0, DIGEST_BYTES) !== 0) return null;
  const view = new DataView(content.buffer, content.byteOffset);
  let offset = 4 + view.getUint32(0, true);
  const decoder = new TextDecoder();
  const { lengths, names } = JSON.parse(decoder.decode(content.subarray(4, offset))) as {
    lengths: number[];
    names: string[];
  };
  const parts = lengths.map((length) => content.slice(offset, offset += length));
  const [wit, source, ...modules] = parts;
  if (wit === undefined || source === undefined) return null;
  return {
    wit: decoder.decode(wit),
    source: decoder.decode(source),
    modules: names.map((name, index) => [name, modules[index] ?? new Uint8Array(0)]),
  };
}
