/**
 * Answers as text. Results of tools are spliced in as the JSON the sandbox gave: nothing is parsed
 * or built as an object on the way out.
 *
 * Owns: the text of results and errors. Must not know methods, transports or the sandbox.
 * Source: CallToolResult, Result and JSONRPCErrorResponse of schema.ts, 2026-07-28.
 */
import type { AtollError } from "../core/errors.ts";
import type { RequestId } from "./envelope.ts";
import type { Revision } from "./revisions.ts";

/** Name and version of this server. */
export interface ServerInfo {
  readonly name: string;
  readonly version: string;
  readonly title?: string;
}

/** The result's `_meta` key for an error that Atoll, not the tool, raised: code, limit, key, value. */
export const ERROR_META_KEY = "atoll/error";

export class Renderer {
  /** `_meta` of a modern result: servers should name themselves in each. */
  readonly #serverInfo: string;

  constructor(info: ServerInfo) {
    this.#serverInfo = `"io.modelcontextprotocol/serverInfo":${JSON.stringify(info)}`;
  }

  /**
   * A successful answer.
   * @param fields The members of the result as JSON text without braces; may be empty.
   */
  result(id: RequestId, revision: Revision, fields: string): string {
    const comma = fields === "" ? "" : ",";
    return revision.modern
      ? `{"jsonrpc":"2.0","id":${idText(id)},"result":{"resultType":"complete"${comma}${fields},` +
        `"_meta":{${this.#serverInfo}}}}`
      : `{"jsonrpc":"2.0","id":${idText(id)},"result":{${fields}}}`;
  }

  /**
   * What a tool returned.
   * @param json The value, or the error side, as JSON text.
   * @param wrap It is not always an object, so older revisions get it as `{"result": …}`. Decided
   * by the type, not by this value: the published schema has to hold for both.
   */
  toolResult(
    id: RequestId,
    revision: Revision,
    json: string,
    isError: boolean,
    wrap: boolean,
  ): string {
    const text = JSON.stringify(json);
    if (revision.modern) {
      return `{"jsonrpc":"2.0","id":${idText(id)},"result":{"resultType":"complete",` +
        `"content":[{"type":"text","text":${text}}],"structuredContent":${json},` +
        `"isError":${isError},"_meta":{${this.#serverInfo}}}}`;
    }
    const structured = wrap ? `{"result":${json}}` : json;
    return `{"jsonrpc":"2.0","id":${idText(id)},"result":{` +
      `"content":[{"type":"text","text":${text}}],"structuredContent":${structured},` +
      `"isError":${isError}}}`;
  }

  /** A tool without a value ended: there is nothing to tell. */
  toolDone(id: RequestId, revision: Revision): string {
    return this.result(id, revision, `"content":[],"isError":false`);
  }

  /**
   * A call that Atoll ended: the model reads the message, a program the facts in `_meta`. There is
   * no structured content, since the tool's output schema does not describe these facts.
   */
  toolFailure(id: RequestId, revision: Revision, error: AtollError): string {
    const meta = `"${ERROR_META_KEY}":${JSON.stringify(error)}`;
    return `{"jsonrpc":"2.0","id":${idText(id)},"result":{` +
      (revision.modern ? `"resultType":"complete",` : "") +
      `"content":[{"type":"text","text":${JSON.stringify(explain(error))}}],"isError":true,` +
      `"_meta":{${revision.modern ? `${this.#serverInfo},` : ""}${meta}}}}`;
  }
}

/** A protocol error; without an id when that could not be read. */
export function errorText(
  id: RequestId | null,
  code: number,
  message: string,
  data?: object,
): string {
  return `{"jsonrpc":"2.0",${id === null ? "" : `"id":${idText(id)},`}` +
    `"error":{"code":${code},"message":${JSON.stringify(message)}` +
    (data === undefined ? "}}" : `,"data":${JSON.stringify(data)}}}`);
}

function idText(id: RequestId): string {
  return typeof id === "number" ? String(id) : JSON.stringify(id);
}

/** The message with the limit and its key, where it does not name them. */
export function explain(error: AtollError): string {
  const { limit, key, value } = error.data;
  const { message } = error;
  if (limit === undefined || (key !== undefined && message.includes(key))) return message;
  const setting = key === undefined ? "" : `, ${key}${value === undefined ? "" : ` = ${value}`}`;
  return `${message} (limit: ${limit}${setting})`;
}
