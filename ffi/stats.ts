/**
 * The library's counters as a plain object.
 *
 * Owns: reading `atoll_stats_t`. Must not know what the counters are used for.
 */
import { STATS, STATS_SIZE } from "./abi.gen.ts";
import { check, type NativeSymbols, outArgument } from "./library.ts";

/** Counters since the library was opened; each is exact, together they are not one moment. */
export interface NativeStats {
  /** Calls that ended inside submit. */
  readonly callsInline: number;
  /** Calls that ended on the workers. */
  readonly callsMigrated: number;
  /** Calls that waited for a place in their group. */
  readonly callsQueued: number;
  /** Calls answered OVERLOADED. */
  readonly callsRefused: number;
  readonly callsInFlight: number;
  readonly clients: number;
  /** Slots taken, by class: 64 B, 256 B, 1 KiB, 4 KiB, 16 KiB, 64 KiB. */
  readonly slotsUsed: readonly number[];
  /** Slots ever taken and ever given back, by class. */
  readonly slotsTaken: readonly number[];
  readonly slotsGiven: readonly number[];
  /** Most slots that threads had at once, taken or kept for the next time, by class. */
  readonly slotsPeak: readonly number[];
  /** Units of 64 KiB ever cut into slots, by class. */
  readonly unitsCarved: readonly number[];
  /** Magazines of slots that threads exchanged with the depot, by class. */
  readonly magazinesExchanged: readonly number[];
  /** Units of 64 KiB taken by larger payloads, now and at most. */
  readonly extentsUsed: number;
  readonly extentsPeak: number;
  readonly targets: number;
  /** Bytes written on wake sockets. */
  readonly wakes: number;
  /** Events pushed on completion rings. */
  readonly events: number;
  /** Log lines dropped. */
  readonly logsLost: number;
  /** Plugins that can be found by name. */
  readonly plugins: number;
  /** Objects taken away and kept for readers that may still have them. */
  readonly retired: number;
  /** Threads that hold an old epoch at this moment; one that stays keeps all that is retired. */
  readonly readersBehind: number;
  /** Whether readers pay no fence; false where the kernel refuses membarrier. */
  readonly asymmetricFences: boolean;
}

const CLASSES = 6;

export function readStats(symbols: NativeSymbols): NativeStats {
  const out = outArgument(STATS_SIZE);
  check(symbols, symbols.atoll_stats(out), "Cannot read the library's counters");
  const view = new DataView(out.buffer);
  const wide = (offset: number): number => Number(view.getBigUint64(offset, true));
  const narrow = (offset: number): number => view.getUint32(offset, true);
  const eachWide = (offset: number): number[] =>
    Array.from({ length: CLASSES }, (_, i) => wide(offset + 8 * i));
  const eachNarrow = (offset: number): number[] =>
    Array.from({ length: CLASSES }, (_, i) => narrow(offset + 4 * i));
  return {
    callsInline: wide(STATS.calls_inline),
    callsMigrated: wide(STATS.calls_migrated),
    callsQueued: wide(STATS.calls_queued),
    callsRefused: wide(STATS.calls_refused),
    callsInFlight: narrow(STATS.calls_in_flight),
    clients: narrow(STATS.clients),
    slotsUsed: eachNarrow(STATS.slots_used),
    slotsTaken: eachWide(STATS.slots_taken),
    slotsGiven: eachWide(STATS.slots_given),
    slotsPeak: eachNarrow(STATS.slots_peak),
    unitsCarved: eachNarrow(STATS.units_carved),
    magazinesExchanged: eachWide(STATS.magazines_exchanged),
    extentsUsed: narrow(STATS.extents_used),
    extentsPeak: narrow(STATS.extents_peak),
    targets: narrow(STATS.targets),
    wakes: wide(STATS.wakes),
    events: wide(STATS.events),
    logsLost: wide(STATS.logs_lost),
    plugins: narrow(STATS.plugins),
    retired: narrow(STATS.retired),
    readersBehind: narrow(STATS.readers_behind),
    asymmetricFences: narrow(STATS.fences_asymmetric) === 1,
  };
}
