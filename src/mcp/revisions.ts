/**
 * The revisions of the Model Context Protocol that Atoll speaks, and in what they differ for it.
 *
 * Owns: the list, the transport each is for, version negotiation. Must not know JSON-RPC or HTTP.
 * Source: modelcontextprotocol.io/specification, "Versioning" and "Lifecycle" of each revision.
 */

/** A revision of the protocol. */
export interface Revision {
  readonly name: string;
  /** Metadata on every request, no handshake (2026-07-28 on). Others are opened by `initialize`. */
  readonly modern: boolean;
  /** JSON-RPC batches have to be accepted; only 2025-03-26 has them on HTTP. */
  readonly batches: boolean;
  /** Arguments that do not fit are the result of the tool, so that a model can correct itself. */
  readonly argumentErrorsAreResults: boolean;
  /** `structuredContent` and `outputSchema` may be any JSON, not only objects. */
  readonly anyStructuredContent: boolean;
  /** Code for a resource that is not there. */
  readonly resourceNotFound: number;
}

const legacy = (name: string, differences: Partial<Revision> = {}): Revision => ({
  name,
  modern: false,
  batches: false,
  argumentErrorsAreResults: false,
  anyStructuredContent: false,
  resourceNotFound: -32002,
  ...differences,
});

export const R2024_11_05: Revision = legacy("2024-11-05", { batches: true });
export const R2025_03_26: Revision = legacy("2025-03-26", { batches: true });
export const R2025_06_18: Revision = legacy("2025-06-18");
export const R2025_11_25: Revision = legacy("2025-11-25", { argumentErrorsAreResults: true });
export const R2026_07_28: Revision = {
  name: "2026-07-28",
  modern: true,
  batches: false,
  argumentErrorsAreResults: true,
  anyStructuredContent: true,
  resourceNotFound: -32602,
};

/** Newest first: clients take the first that they know. */
export const HTTP_REVISIONS: readonly Revision[] = [
  R2026_07_28,
  R2025_11_25,
  R2025_06_18,
  R2025_03_26,
];

/** 2024-11-05 had another HTTP transport, so it is spoken on standard input and output only. */
export const STDIO_REVISIONS: readonly Revision[] = [...HTTP_REVISIONS, R2024_11_05];

/** The revision of a name among those of a transport. */
export function findRevision(
  revisions: readonly Revision[],
  name: string,
): Revision | undefined {
  return revisions.find((revision) => revision.name === name);
}

/**
 * What `initialize` answers: the asked revision when it has a handshake and is spoken here,
 * otherwise the newest that has one.
 */
export function negotiate(revisions: readonly Revision[], asked: unknown): Revision {
  return revisions.find((revision) => !revision.modern && revision.name === asked) ?? R2025_11_25;
}

/** Messages in one batch: their answers are held until the last one is there. */
export const BATCH_MAX = 100;
