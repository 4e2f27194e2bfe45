/**
 * The text head of HTTP messages at the boundary: a first line, `name:value` fields, an empty
 * line, all ended by LF, then the beginning of the body.
 *
 * Owns: writing heads of requests and reading those of responses. Must not know frames, nor the HTTP library in front. Field values
 * are byte strings, code units 0 to 255, as `Headers` has them; they cross as UTF-8 of those units.
 */
import { AtollError } from "../core/errors.ts";

/** Header fields in order, names in lower case. */
type Fields = readonly (readonly [name: string, value: string])[];

export interface RequestHead {
  readonly method: string;
  /** Absolute. */
  readonly url: string;
  readonly fields: Fields;
}

export interface ResponseHead {
  readonly status: number;
  readonly fields: Fields;
}

// RFC 9110, 5.6.2: what a method and a field name are made of.
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
// A control character in a line would end it or hide what follows.
const UNSAFE_VALUE = /[\0\r\n]|[^\0-\xff]/;
const UNSAFE_URL = /[\0-\x20\x7f]/;

const decoder = new TextDecoder();
const LF = 10;

/**
 * The head of a request, with its empty line.
 * @throws AtollError invalid_argument: a method, URL or field that cannot stand in a head
 */
export function encodeRequestHead(head: RequestHead): string {
  if (!TOKEN.test(head.method)) throw refused("method", head.method);
  if (UNSAFE_URL.test(head.url)) throw refused("URL", head.url);
  return `${head.method} ${head.url}\n${encodeFields(head.fields)}\n`;
}

function encodeFields(fields: Fields): string {
  let text = "";
  for (const [name, value] of fields) {
    if (!TOKEN.test(name)) throw refused("field name", name);
    if (UNSAFE_VALUE.test(value)) throw refused(`value of field ${name}`, value);
    text += `${name.toLowerCase()}:${value}\n`;
  }
  return text;
}

/**
 * Reads the head of a response and says where its body begins.
 * @throws AtollError internal: the engine sent something else
 */
export function decodeResponseHead(bytes: Uint8Array): ResponseHead & { bodyOffset: number } {
  const { lines, bodyOffset } = split(bytes);
  const status = Number(lines[0]);
  if (!isStatus(status)) throw broken(`status is "${lines[0]}"`);
  return { status, fields: decodeFields(lines), bodyOffset };
}

function split(bytes: Uint8Array): { lines: string[]; bodyOffset: number } {
  let end = bytes.indexOf(LF);
  while (end >= 0 && bytes[end + 1] !== LF) end = bytes.indexOf(LF, end + 1);
  if (end < 0) throw broken("it has no empty line");
  return { lines: decoder.decode(bytes.subarray(0, end)).split("\n"), bodyOffset: end + 2 };
}

function decodeFields(lines: readonly string[]): [string, string][] {
  const fields: [string, string][] = [];
  for (let i = 1; i < lines.length; i++) {
    const line = lines[i]!;
    const colon = line.indexOf(":");
    if (colon < 1) throw broken(`field "${line.slice(0, 40)}" has no name`);
    fields.push([line.slice(0, colon), line.slice(colon + 1)]);
  }
  return fields;
}

function isStatus(status: number): boolean {
  return Number.isInteger(status) && status >= 100 && status <= 999;
}

function refused(what: string, value: string): AtollError {
  const shown = JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);
  return new AtollError("invalid_argument", `Cannot send an HTTP message: ${what} ${shown}`);
}

function broken(reason: string): AtollError {
  return new AtollError("internal", `Cannot read an HTTP head from the engine: ${reason}`);
}
