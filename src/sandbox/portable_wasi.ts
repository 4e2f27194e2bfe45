/**
 * WASI 0.2 with nothing granted, for guests of the portable engine: no arguments, an empty
 * environment, no files, no network, clocks of a millisecond, randomness of its own.
 *
 * Owns which imports there are; the same as the native engine's. preview2-shim is not used: it
 * starts a second thread for each worker and reaches the real files, sockets and outputs.
 * Source: WASI 0.2 as of wasi:cli 0.2.12.
 */
import type { CallGuard } from "./portable_guard.ts";
import type { GuestOutput } from "./portable_log.ts";
import type { GuestLevel } from "./sandbox.ts";
import { type GuestProgress, PROGRESS_INTERFACE, PROGRESS_VERSION } from "./portable_progress.ts";
import { httpImports } from "./portable_http_types.ts";
import {
  HostResource,
  InputStream,
  IoError,
  NO_INPUT,
  OutputStream,
  poll,
  Pollable,
} from "./portable_io.ts";
import { jsMemberName } from "./value_names.ts";
import type { World } from "./wit/model.ts";

/** What instances of jco's code are given: interfaces by name without a version. */
export type Imports = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

/** Most bytes of one request for randomness. */
const RANDOM_BYTES_MAX = 1024 * 1024;

const MS_NS = 1_000_000n;

/** Resources that exist in name only: no function of the host gives one out. */
class Descriptor extends HostResource {}
class DirectoryEntryStream extends HostResource {}
class Network extends HostResource {}
class ResolveAddressStream extends HostResource {}
class TcpSocket extends HostResource {}
class UdpSocket extends HostResource {}
class IncomingDatagramStream extends HostResource {}
class OutgoingDatagramStream extends HostResource {}
class TerminalInput extends HostResource {}
class TerminalOutput extends HostResource {}
class Bucket extends HostResource {}
class Cas extends HostResource {}

/** The imports of one call. */
export function wasiImports(
  guard: CallGuard,
  output: GuestOutput,
  progress: GuestProgress,
  config: Readonly<Record<string, string>>,
): Imports {
  const denied = () => {
    throw "access-denied";
  };
  return {
    "wasi:cli/environment": {
      getEnvironment: () => [],
      getArguments: () => [],
      initialCwd: () => undefined,
    },
    "wasi:cli/exit": {
      exit: (status: { tag: "ok" | "err" }) => exit(guard, status.tag === "ok" ? 0 : 1),
      exitWithCode: (code: number) => exit(guard, code),
    },
    "wasi:cli/stdin": { getStdin: () => new InputStream(guard, NO_INPUT) },
    "wasi:cli/stdout": { getStdout: () => new OutputStream(guard, output.sink("stdout")) },
    "wasi:cli/stderr": { getStderr: () => new OutputStream(guard, output.sink("stderr")) },
    "wasi:cli/terminal-input": { TerminalInput },
    "wasi:cli/terminal-output": { TerminalOutput },
    "wasi:cli/terminal-stdin": { getTerminalStdin: () => undefined },
    "wasi:cli/terminal-stdout": { getTerminalStdout: () => undefined },
    "wasi:cli/terminal-stderr": { getTerminalStderr: () => undefined },
    "wasi:io/error": { Error: IoError },
    "wasi:io/poll": { Pollable, poll },
    "wasi:io/streams": { InputStream, OutputStream },
    ...clocks(guard),
    ...randomness(guard),
    "wasi:filesystem/preopens": { getDirectories: () => [] },
    "wasi:filesystem/types": {
      Descriptor,
      DirectoryEntryStream,
      filesystemErrorCode: () => undefined,
    },
    "wasi:sockets/network": { Network, networkErrorCode: () => undefined },
    "wasi:sockets/instance-network": { instanceNetwork: () => new Network(guard) },
    "wasi:sockets/ip-name-lookup": { ResolveAddressStream, resolveAddresses: denied },
    "wasi:sockets/tcp": { TcpSocket },
    "wasi:sockets/tcp-create-socket": { createTcpSocket: denied },
    "wasi:sockets/udp": { UdpSocket, IncomingDatagramStream, OutgoingDatagramStream },
    "wasi:sockets/udp-create-socket": { createUdpSocket: denied },
    "wasi:logging/logging": {
      log: (level: GuestLevel, context: string, message: string) => {
        guard.charge();
        output.message(level, context, message);
      },
    },
    "wasi:config/store": {
      get: (key: string) => {
        guard.charge();
        return Object.hasOwn(config, key) ? config[key] : undefined;
      },
      getAll: () => {
        guard.charge();
        return Object.entries(config);
      },
    },
    ...NO_NAMESPACES,
    ...httpImports(guard),
    [PROGRESS_INTERFACE]: {
      report: (...report: Parameters<GuestProgress["report"]>) => {
        guard.charge();
        progress.report(...report);
      },
    },
  };
}

/** Namespaces are the native engine's: a plugin that is granted one is not loaded here. */
const NO_NAMESPACES: Imports = (() => {
  const denied = () => {
    throw { tag: "access-denied" };
  };
  return {
    "wasi:keyvalue/store": { Bucket, open: denied },
    "wasi:keyvalue/atomics": { Cas, increment: denied, swap: denied },
    "wasi:keyvalue/batch": { getMany: denied, setMany: denied, deleteMany: denied },
  };
})();

function exit(guard: CallGuard, code: number): never {
  guard.stop({ kind: "trap", message: `the guest called exit with status ${code}` });
  // Unwinds the guest; the reason is what counts.
  throw new WebAssembly.RuntimeError("exit");
}

function clocks(guard: CallGuard): Imports {
  // Never zero: Go's run-time library takes that for a clock that does not work, and aborts.
  const now = () => BigInt(guard.elapsedMs + 1) * MS_NS;
  const at = (instant: bigint) =>
    new Pollable(guard, {
      ready: () => now() >= instant,
      inMs: () => Math.max(1, Number((instant - now()) / MS_NS) + 1),
    });
  return {
    "wasi:clocks/monotonic-clock": {
      now: () => {
        guard.charge();
        return now();
      },
      resolution: () => MS_NS,
      subscribeInstant: at,
      subscribeDuration: (duration: bigint) => at(now() + duration),
    },
    "wasi:clocks/wall-clock": {
      now: () => {
        guard.charge();
        const ms = Date.now();
        return { seconds: BigInt(Math.floor(ms / 1000)), nanoseconds: (ms % 1000) * 1_000_000 };
      },
      resolution: () => ({ seconds: 0n, nanoseconds: 1_000_000 }),
    },
  };
}

function randomness(guard: CallGuard): Imports {
  const bytes = (length: bigint) => {
    if (length > BigInt(RANDOM_BYTES_MAX)) {
      guard.stop({
        kind: "trap",
        message: `the guest failed: at most ${RANDOM_BYTES_MAX} random bytes are given at once`,
      });
      throw new WebAssembly.RuntimeError("too many random bytes");
    }
    const random = new Uint8Array(Number(length));
    // Web Crypto gives up to 65,536 bytes at once.
    for (let offset = 0; offset < random.length; offset += 65_536) {
      const part = random.subarray(offset, offset + 65_536);
      guard.chargeBytes(part.length);
      crypto.getRandomValues(part);
    }
    return random;
  };
  const number = () => new DataView(bytes(8n).buffer).getBigUint64(0, true);
  return {
    "wasi:random/random": { getRandomBytes: bytes, getRandomU64: number },
    "wasi:random/insecure": { getInsecureRandomBytes: bytes, getInsecureRandomU64: number },
    "wasi:random/insecure-seed": { insecureSeed: () => [number(), number()] },
  };
}

/** Versions of what is not final, by package; the first form of one had none. */
const DRAFTS: ReadonlyMap<string, readonly string[]> = new Map([
  ["wasi:keyvalue", ["0.2.0-draft", "0.2.0-draft2"]],
  ["wasi:config", ["0.2.0-draft", "0.2.0-rc.1"]],
  ["wasi:logging", ["", "0.1.0-draft"]],
  ["atoll:plugin", [PROGRESS_VERSION]],
]);

/**
 * The imports of a world that Atoll does not offer: interfaces by name, or `interface#function`
 * where only the function is unknown.
 */
export function unknownImports(world: World, known: Imports): string[] {
  return world.imports.flatMap((item): string[] => {
    if (item.kind === "function") return [item.function.name];
    // Types alone need nobody behind them.
    if (item.functions.length === 0 && item.resources.length === 0) return [];
    const [name = "", version = ""] = item.name.split("@");
    const members = Object.hasOwn(known, name) ? known[name] : undefined;
    const drafts = DRAFTS.get(name.slice(0, name.indexOf("/")));
    const offered = drafts?.includes(version) ?? /^0\.2(?:\.|$)/.test(version);
    if (members === undefined || !offered) return [item.name];
    return item.functions
      .filter((func) => func.kind === "free" && !Object.hasOwn(members, jsMemberName(func.name)))
      .map((func) => `${item.name}#${func.name}`);
  });
}
