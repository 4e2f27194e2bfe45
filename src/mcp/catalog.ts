/**
 * The list of tools as text, ready to be sent: made once for each generation of the registry.
 *
 * Owns: the JSON of a tool in both shapes, order, pages and cursors. Must not know JSON-RPC,
 * transports or how a tool is called.
 * Source: "Listing Tools" and "Pagination", 2026-07-28.
 */
import { legacyOutputSchema, type OutputShape } from "./output_schema.ts";
import type { Revision } from "./revisions.ts";

/** What the catalog needs of a tool. */
export interface ListedTool extends OutputShape {
  readonly name: string;
  readonly description?: string;
  readonly inputSchema: object;
  readonly plugin: { readonly id: string };
}

/** Where tools come from; `generation` changes whenever the set of tools does. */
export interface ToolSource<T extends ListedTool> {
  readonly generation: number;
  tools(): readonly T[];
  tool(name: string): T | undefined;
  /** Ids of plugins that are still being built or loaded: their tools are to come. */
  pending(): readonly string[];
}

/** One page: the tools as the inside of a JSON array, and the cursor of the next page. */
export interface Page {
  readonly tools: string;
  readonly nextCursor: string | null;
}

interface Shape {
  readonly names: readonly string[];
  readonly texts: readonly string[];
  /** The page without a cursor, which nearly every client asks for. */
  readonly first: Page;
}

/** Cursors name the last tool that was seen, so they stay good when the set of tools changes. */
const CURSOR = "after:";

/** Most characters of a page of several tools: a few hundred huge ones would be no string any more. */
const PAGE_LENGTH_MAX = 4 * 1024 * 1024;

export class Catalog {
  #generation = -1;
  #modern: Shape | null = null;
  #legacy: Shape | null = null;

  /** @param pageSize Tools in one page. */
  constructor(readonly source: ToolSource<ListedTool>, readonly pageSize: number) {}

  /** A page of tools in the order of their names; null when the cursor is not one of ours. */
  page(revision: Revision, cursor: string | undefined): Page | null {
    if (this.source.generation !== this.#generation) {
      this.#generation = this.source.generation;
      this.#modern = null;
      this.#legacy = null;
    }
    const shape = revision.anyStructuredContent
      ? this.#modern ??= this.#shape(modernTool)
      : this.#legacy ??= this.#shape(legacyTool);
    if (cursor === undefined) return shape.first;
    const last = decodeCursor(cursor);
    if (last === null) return null;
    const start = shape.names.findIndex((name) => name > last);
    return this.#slice(shape.names, shape.texts, start === -1 ? shape.names.length : start);
  }

  #shape(render: (tool: ListedTool) => object): Shape {
    const tools = [...this.source.tools()].sort((a, b) => a.name < b.name ? -1 : 1);
    const names = tools.map((tool) => tool.name);
    const texts = tools.map((tool) => JSON.stringify(render(tool)));
    return { names, texts, first: this.#slice(names, texts, 0) };
  }

  #slice(names: readonly string[], texts: readonly string[], start: number): Page {
    let end = start;
    for (let length = 0; end < texts.length && end - start < this.pageSize; end++) {
      length += texts[end]?.length ?? 0;
      if (length > PAGE_LENGTH_MAX && end > start) break;
    }
    const last = names[end - 1];
    return {
      tools: texts.slice(start, end).join(","),
      nextCursor: end < texts.length && last !== undefined ? encodeCursor(last) : null,
    };
  }
}

function modernTool(tool: ListedTool): object {
  return described(tool, tool.outputSchema);
}

function legacyTool(tool: ListedTool): object {
  return described(tool, legacyOutputSchema(tool));
}

/** Clients show the description to a model, so a tool whose WIT has no comment gets a plain one. */
function described(tool: ListedTool, outputSchema: object | undefined): object {
  return {
    name: tool.name,
    description: tool.description ?? `Function of the plugin ${tool.plugin.id}`,
    inputSchema: tool.inputSchema,
    ...(outputSchema === undefined ? {} : { outputSchema }),
  };
}

function encodeCursor(name: string): string {
  return btoa(CURSOR + name);
}

function decodeCursor(cursor: string): string | null {
  try {
    const text = atob(cursor);
    return text.startsWith(CURSOR) ? text.slice(CURSOR.length) : null;
  } catch {
    return null;
  }
}
