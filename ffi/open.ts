/**
 * Opening a client: the library, its arena, the wake socket.
 *
 * Owns: the steps from a library to a client that can be woken, and their undoing when one fails.
 * Must not know frames.
 */
import {
  ARENA_INFO,
  ARENA_INFO_SIZE,
  CLIENT_INFO,
  CLIENT_INFO_SIZE,
  NONCE_BYTES,
  STATUS,
} from "./abi.gen.ts";
import { type ArenaInfo, arenaLines, type ArenaWishes, readArenaInfo } from "./arena_info.ts";
import { type ClientMemory, CopiedMemory, MappedMemory } from "./arena.ts";
import { type ConnectWake, connectWake, type WakeHandlers, type WakeSource } from "./completion.ts";
import { bytesArgument, check, type NativeLibrary, outArgument } from "./library.ts";

/** Settings of the library; only the first open of a process reads the first two. */
export interface ClientSettings {
  /** Size of the arena, and how it is mapped. */
  readonly arena?: ArenaWishes;
  /** Calls in flight at once, all isolates together: 16 to 65,536; 16,384 when absent. */
  readonly callsMax?: number;
  /** Folder for the wake sockets; absent: the library chooses one. */
  readonly runtimeDir?: string;
  /** Another wake than this runtime's usual one. */
  readonly wake?: ConnectWake;
}

/** A client that is open but not yet woken. */
export interface OpenedClient {
  /** Number with generation. */
  readonly number: number;
  readonly memory: ClientMemory;
  readonly payloadBytesMax: number;
  readonly arena: ArenaInfo;
  /** Connects the wake socket. */
  attach(handlers: WakeHandlers): Promise<WakeSource>;
}

/**
 * Opens the library for this isolate and a client of it.
 * @throws NativeError io, no_memory (also too many clients), invalid_argument
 */
export function openClient(library: NativeLibrary, settings: ClientSettings): OpenedClient {
  const { symbols } = library;
  const config = new TextEncoder().encode(openLines(settings));
  const arena = outArgument(ARENA_INFO_SIZE);
  const opened = symbols.atoll_open(bytesArgument(config), config.length, arena);
  check(symbols, opened, "Cannot open the native library");
  const info = outArgument(CLIENT_INFO_SIZE);
  try {
    check(symbols, symbols.atoll_client_open(info), "Cannot open a client of the native library");
  } catch (error) {
    symbols.atoll_close();
    throw error;
  }
  const fields = new DataView(info.buffer);
  const number = fields.getUint32(CLIENT_INFO.client, true);
  const areaSlot = fields.getUint32(CLIENT_INFO.area_slot, true);
  try {
    return {
      number,
      memory: mapArena(library, arena, number, areaSlot),
      payloadBytesMax: new DataView(arena.buffer).getUint32(ARENA_INFO.payload_bytes_max, true),
      arena: readArenaInfo(arena),
      attach: (handlers) => attach(library, number, info, handlers, settings.wake ?? connectWake),
    };
  } catch (error) {
    closeClient(library, number);
    throw error;
  }
}

/** Undoes openClient; the library is closed when its last user has. */
export function closeClient(library: NativeLibrary, number: number): void {
  library.symbols.atoll_client_close(number);
  library.symbols.atoll_close();
}

const ATTACH_TRIES = 2_000;
const ATTACH_PAUSE_MS = 1;

async function attach(
  library: NativeLibrary,
  client: number,
  info: Uint8Array<ArrayBuffer>,
  handlers: WakeHandlers,
  connect: ConnectWake,
): Promise<WakeSource> {
  const { symbols } = library;
  const length = new DataView(info.buffer).getUint32(CLIENT_INFO.path_length, true);
  const path = info.subarray(CLIENT_INFO.path, CLIENT_INFO.path + length);
  const nonce = info.slice(CLIENT_INFO.nonce, CLIENT_INFO.nonce + NONCE_BYTES);
  const wake = await connect(new TextDecoder().decode(path), nonce, handlers);
  let status = symbols.atoll_client_attach(client);
  // The nonce is on its way as soon as the event loop has turned.
  for (let tries = 0; status === STATUS.WOULD_BLOCK && tries < ATTACH_TRIES; tries++) {
    await new Promise((resolve) => setTimeout(resolve, tries < 10 ? 0 : ATTACH_PAUSE_MS));
    status = symbols.atoll_client_attach(client);
  }
  if (status !== STATUS.OK) {
    wake.close();
    check(symbols, status, "Cannot attach the wake socket");
  }
  return wake;
}

/** `key=value` lines for atoll_open. */
function openLines(settings: ClientSettings): string {
  const lines: string[] = [];
  lines.push(...arenaLines(settings.arena ?? {}));
  if (settings.callsMax !== undefined) lines.push(`calls_max=${settings.callsMax}`);
  if (settings.runtimeDir !== undefined) lines.push(`runtime_dir=${settings.runtimeDir}`);
  return lines.map((line) => `${line}\n`).join("");
}

function mapArena(
  library: NativeLibrary,
  arena: Uint8Array<ArrayBuffer>,
  client: number,
  areaSlot: number,
): ClientMemory {
  const info = new DataView(arena.buffer);
  const base = info.getBigUint64(ARENA_INFO.base, true);
  const size = Number(info.getBigUint64(ARENA_INFO.size, true));
  const mapped = library.map(base, size);
  if (mapped) return new MappedMemory(mapped, areaSlot);
  return new CopiedMemory(library.symbols, client, areaSlot);
}
