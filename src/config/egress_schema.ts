/**
 * The schemas of what a plugin may send: rules of HTTP requests and secrets bound to hosts.
 *
 * Owns: what may be written for each and its description. The names are those of
 * `src/core/grants.ts`.
 */
import * as v from "valibot";
import { GRANT_MAXIMA } from "../core/grants.ts";
import { count } from "./limits_schema.ts";

const LONGEST_MS = 60 * 60 * 1000;

/** A label of a name, RFC 1123, and what is in use besides. */
const LABEL = "[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?";
const NAME = new RegExp(`^(?:\\*\\.)?${LABEL}(?:\\.${LABEL})*$`);
/** What a resolver takes for an address, RFC 6943, 3.1.1. */
const NUMERIC_END = /(?:^|\.)(?:\d+|0[xX][0-9A-Fa-f]*)$/;
const ADDRESS_OF_FOUR = /^(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?!$)|$)){4}$/;
const ADDRESS_OF_SIX = /^(?:\[[0-9A-Fa-f:.]+\]|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)$/;

function isHost(text: string): boolean {
  if (text === "*" || ADDRESS_OF_FOUR.test(text) || ADDRESS_OF_SIX.test(text)) return true;
  return text.length <= 253 && NAME.test(text) && !NUMERIC_END.test(text);
}

const hostSchema = v.pipe(
  v.string(),
  v.check(isHost, "a name in ASCII, *.NAME for those below it, an address, or *"),
);

const entries = {
  host: v.pipe(
    hostSchema,
    v.description("A name, `*.NAME` for the names below it, an address, or `*` for any."),
  ),
  scheme: v.exactOptional(
    v.pipe(v.picklist(["https", "http"]), v.description("Absent: https.")),
  ),
  port: v.exactOptional(count(1, "Absent: 443 for https, 80 for http.", 65_535)),
  methods: v.exactOptional(v.pipe(
    v.array(v.pipe(v.string(), v.regex(/^[A-Z-]{1,32}$/, "a method in capital letters"))),
    v.maxLength(GRANT_MAXIMA.methods),
    v.description("Absent: any."),
  )),
  path: v.exactOptional(v.pipe(
    v.string(),
    v.maxLength(512),
    v.check(
      (path) =>
        path.startsWith("/") &&
        path.split("/").slice(1).every((segment) =>
          segment === "*" || !/[*?#]/.test(segment) && segment !== "." && segment !== ".."
        ),
      "a path that begins with / and has * as whole segments only",
    ),
    v.description(
      "A path; `*` stands for a segment, as the last one for one or more. Absent: any.",
    ),
  )),
};

const ruleSchema = v.strictObject({
  ...entries,
  private: v.exactOptional(v.pipe(
    v.boolean(),
    v.description(
      "True: the name may lead to loopback, private and link-local addresses; metadata services " +
        "are reached by a rule for their address only.",
    ),
  )),
  timeoutMs: v.exactOptional(count(
    1,
    "Milliseconds that connecting, the first byte and each pause may take at most.",
    LONGEST_MS,
  )),
  requestBytes: v.exactOptional(count(0, "The largest body of a request, in bytes.")),
  responseBytes: v.exactOptional(count(0, "The largest body of a response, in bytes.")),
});

export const httpGrantsSchema = v.pipe(
  v.array(ruleSchema),
  v.maxLength(GRANT_MAXIMA.rules),
  v.description("HTTP requests that the plugin may send; all others are denied."),
);

const secretNameSchema = v.pipe(
  v.string(),
  v.regex(/^[A-Za-z_][A-Za-z0-9_]{0,63}$/, "letters, digits and _, at most 64, no digit first"),
);

const secretSchema = v.pipe(
  v.strictObject({
    env: v.exactOptional(v.pipe(
      v.string(),
      v.nonEmpty("text that is not empty"),
      v.description("The variable of Atoll's own environment that holds the value."),
    )),
    file: v.exactOptional(v.pipe(
      v.string(),
      v.nonEmpty("text that is not empty"),
      v.description("The file that holds the value; relative to the configuration's file."),
    )),
    hosts: v.pipe(
      v.array(hostSchema),
      v.minLength(1),
      v.maxLength(GRANT_MAXIMA.secretHosts),
      v.description("Where the value may be sent; as in rules of http."),
    ),
  }),
  v.check(
    ({ env, file }) => (env === undefined) !== (file === undefined),
    "either env or file",
  ),
);

export const secretsSchema = v.pipe(
  v.record(secretNameSchema, secretSchema),
  v.check(
    (secrets) => Object.keys(secrets).length <= GRANT_MAXIMA.secrets,
    `at most ${GRANT_MAXIMA.secrets} secrets`,
  ),
  v.description(
    "Secrets that the plugin may send and never sees, by the variable in which it finds what stands " +
      "for each.",
  ),
);

export const wantedHttpSchema = v.pipe(
  v.array(v.strictObject(entries)),
  v.maxLength(GRANT_MAXIMA.rules),
  v.description("HTTP requests that it sends."),
);

export const wantedSecretsSchema = v.pipe(
  v.array(secretNameSchema),
  v.maxLength(GRANT_MAXIMA.secrets),
  v.description("Names of secrets that it sends."),
);
