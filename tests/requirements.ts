/**
 * Behaviours that Atoll promises, with the place that asks for them. A test cites a requirement by
 * its id at the beginning of its name, `test("A5: a batch array is refused", …)`, or in a comment
 * directly in front of it. `requirements_test.ts` fails when an id is cited by no test.
 */
export interface Requirement {
  readonly id: string;
  readonly text: string;
  /** Specification section, attack row, or the README's chapter. */
  readonly source: string;
}

const MCP = "MCP 2026-07-28";

export const REQUIREMENTS: readonly Requirement[] = [
  // Attacks and faults.
  {
    id: "A1",
    text: "a foreign Origin, or Origin: null, is 403",
    source: `${MCP} transports/streamable-http, security`,
  },
  {
    id: "A2",
    text: "a rebinding Host is 403, loopback hosts are accepted",
    source: `${MCP} transports/streamable-http, security`,
  },
  {
    id: "A3",
    text: "Mcp-Name or Mcp-Method absent or different from the body is 400, -32020",
    source: `${MCP} transports/streamable-http, headers`,
  },
  {
    id: "A4",
    text: "a version header different from the body is -32020, an unknown version -32022",
    source: `${MCP} basic/versioning`,
  },
  {
    id: "A5",
    text:
      "unknown method -32601 with 404; batch arrays only in 2025-03-26; id null or an object is 400",
    source: `${MCP} basic`,
  },
  {
    id: "A6",
    text: "a body over the limit is 413, invalid UTF-8 is 400, text/plain is 415",
    source: "README, limits",
  },
  { id: "A7", text: "a tool named __proto__ is -32602", source: `${MCP} server/tools` },
  {
    id: "A13",
    text: "private and metadata addresses are refused in every spelling and at each hop",
    source: "README, limits; OWASP server-side request forgery",
  },
  {
    id: "A17",
    text: "40,000 header fields are a guest's error",
    source: "wasmtime advisories of February 2026",
  },
  {
    id: "A18",
    text: "spinning, growing, recursing and parked guests end at their limit, which is named",
    source: "README, limits",
  },
  { id: "A19", text: "endless log and output are cut at their limit", source: "README, limits" },
  {
    id: "A20",
    text: "calls beyond the places queue, then are overloaded; none is lost",
    source: "README, limits",
  },
  {
    id: "A21",
    text: "a damaged component, a core module or unknown imports: a clear error, nothing loaded",
    source: "README, plugins",
  },
  {
    id: "A22",
    text: "a corrupted precompiled file is compiled again, never deserialised",
    source: "wasmtime, Component::deserialize",
  },
  {
    id: "A25",
    text: "SIGTERM under load: new work refused, running work answered, exit 0",
    source: "README, stopping",
  },
  {
    id: "A26",
    text: "frames with a bad magic, version, length or checksum, or cut off, are refused",
    source: "docs/reference/wire.md",
  },
  {
    id: "A28",
    text:
      "what an instance remembers of one caller never reaches another, unless the plugin says so",
    source: "README, isolation",
  },
  {
    id: "A29",
    text: "while guests spin the event loop and other plugins answer",
    source: "README, limits",
  },
  {
    id: "A30",
    text: "a dead isolate, a stale, forged or doubly reaped ticket harm nobody",
    source: "docs/reference/boundary.md",
  },
  // Traps of the runtimes' FFI.
  {
    id: "D1",
    text: "no callback of a native thread exists that could be closed from inside",
    source: "docs/decisions/0004-wake-by-socket.md",
  },
  { id: "D2", text: "a path grant for FFI works by copying", source: "Deno issues 15511, 13569" },
  { id: "D3", text: "no unstable flag is needed for FFI", source: "Deno 2.9" },
  { id: "D6", text: "only fixed-size buffers cross", source: "Deno issue 36259" },
  { id: "D8", text: "native threads never call into the runtime", source: "Deno issue 17704" },
  { id: "D9", text: "hot symbols are destructured", source: "Deno issue 15125" },
  { id: "D10", text: "an empty array crosses as a length of zero", source: "Deno issue 16625" },
  { id: "D11", text: "the hot path passes u32 only", source: "Deno issue 17955" },
  {
    id: "D12",
    text: "a library that others may write is not loaded",
    source: "Deno issues 16765, 30643",
  },
  { id: "D14", text: "the package is of ES modules", source: "Deno 2.9" },
  { id: "B1", text: "values stay right after the JIT has warmed up", source: "Bun issue 32054" },
  { id: "B2", text: "native writes are seen through views", source: "Bun 1.4" },
  {
    id: "B3",
    text: "a Bun that is too old is refused at start",
    source: "Bun issues 24529, 33840",
  },
  { id: "B10", text: "a mapped view has its whole length", source: "Bun issue 23656" },
];
