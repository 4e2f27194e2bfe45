/**
 * The schemas of what is granted, in the configuration, and of what is wanted, in a manifest.
 *
 * Owns: what may be written for each grant and its description. The names are those of
 * `src/core/grants.ts` and `src/core/wants.ts`.
 */
import * as v from "valibot";
import { GRANT_MAXIMA } from "../core/grants.ts";
import {
  httpGrantsSchema,
  secretsSchema,
  wantedHttpSchema,
  wantedSecretsSchema,
} from "./egress_schema.ts";
import { count } from "./limits_schema.ts";

/** A request to the native engine has 64 KiB; the limits and other grants need some of it. */
const ENV_BYTES_MAX = 32 * 1024;

const variableNameSchema = v.pipe(
  v.string(),
  v.check(
    (name) => name !== "" && !name.includes("=") && !name.includes("\0"),
    "the name of a variable, with no = and no zero in it",
  ),
);

const variableValueSchema = v.pipe(
  v.string(),
  v.check((value) => !value.includes("\0"), "a text with no zero in it"),
);

/** What a namespace may hold whose grant says nothing. */
const NAMESPACE_BYTES = 64 * 1024 * 1024;

const namespaceSchema = v.pipe(
  v.string(),
  v.regex(/^[A-Za-z0-9._-]{1,64}$/, "letters, digits, dots, hyphens and underscores, 1 to 64"),
);

const keyvalueSchema = v.pipe(
  v.array(v.union(
    [
      v.pipe(
        namespaceSchema,
        v.transform((name) => ({ name, bytes: NAMESPACE_BYTES, shared: false })),
      ),
      v.strictObject({
        name: namespaceSchema,
        bytes: v.optional(
          count(
            0,
            "Most bytes of all its entries: keys twice, values and 64 bytes for each.",
            Number.MAX_SAFE_INTEGER,
          ),
          NAMESPACE_BYTES,
        ),
        shared: v.optional(
          v.pipe(
            v.boolean(),
            v.description("True: one and the same for all plugins that are granted it so."),
          ),
          false,
        ),
      }),
    ],
    "1 to 64 letters, digits, dots, hyphens and underscores, or an object with such a name",
  )),
  v.check(
    (grants) =>
      grants.length <= GRANT_MAXIMA.namespaces &&
      new Set(grants.map(({ name }) => name)).size === grants.length,
    `at most ${GRANT_MAXIMA.namespaces} namespaces, each once`,
  ),
);

const guestPathSchema = v.pipe(
  v.string(),
  v.check(
    (path) => path !== "" && path.length <= 1024 && !path.includes("\0"),
    "a path of 1 to 1024 characters",
  ),
  v.description("Where the plugin finds it, as in /data."),
);

const writeSchema = v.exactOptional(
  v.pipe(v.boolean(), v.description("True: it may change what is in it.")),
);

const folderSchema = v.strictObject({
  path: v.pipe(
    v.string(),
    v.check(
      (path) => path !== "" && path.length <= 4096 && !path.includes("\0"),
      "a path of 1 to 4096 characters",
    ),
    v.description("The folder; in a file, relative to the file. It must exist."),
  ),
  at: guestPathSchema,
  write: writeSchema,
  bytes: v.exactOptional(
    count(
      0,
      "The most that the folder may hold when the plugin may write, in bytes: its files, and 4096 " +
        "for each entry. Absent: 64 MiB.",
    ),
  ),
});

function few<T>(item: v.GenericSchema<T, T>, description: string) {
  return v.exactOptional(
    v.pipe(
      v.array(item),
      v.maxLength(GRANT_MAXIMA.rules, `at most ${GRANT_MAXIMA.rules} of them`),
      v.description(description),
    ),
  );
}

const HOST =
  /^(?:\*\.)?(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?$|^[0-9A-Fa-f:.]+(?:\/\d{1,3})?$/;

const portSchema = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(65_535));

const socketSchema = v.strictObject({
  host: v.pipe(
    v.string(),
    v.check(
      (host) => host.length <= 255 && HOST.test(host),
      "a name, *.name, an address or a range of addresses such as 10.0.0.0/8",
    ),
    v.description(
      "A name, *.name, an address or a range. What is private, loopback or link-local is only " +
        "reached by a rule with its address.",
    ),
  ),
  port: v.pipe(
    v.union(
      [
        portSchema,
        v.pipe(
          v.tuple([portSchema, portSchema]),
          v.check(([first, last]) => first <= last, "the first port, then the last one"),
        ),
      ],
      "a port, or the first and the last one",
    ),
    v.description("A port, or the first and the last one. To listen at 0: one that is free."),
  ),
  listen: v.exactOptional(
    v.pipe(
      v.boolean(),
      v.description(
        "True: it may be reached at this address of the host. Absent: it may reach it.",
      ),
    ),
  ),
});

const tcpSchema = few(socketSchema, "Whom it may reach by TCP, and where it may be reached.");
const udpSchema = few(socketSchema, "Whom it may send to by UDP, and where it may be reached.");

const clocksSchema = v.exactOptional(v.pipe(
  v.strictObject({
    resolutionUs: count(1, "Microseconds from one reading to the next.", 1_000_000),
  }),
  v.description("How finely its clocks tell time. Absent: 1000."),
));

const randomSchema = v.exactOptional(v.pipe(
  v.strictObject({ seed: count(0, "The seed.") }),
  v.description("The same randomness in every call. Absent: each call has its own."),
));

const grantsEntries = v.strictObject({
  env: v.optional(
    v.pipe(
      v.record(variableNameSchema, variableValueSchema),
      v.check(
        (env) => bytesOf(env) <= ENV_BYTES_MAX,
        `variables of ${ENV_BYTES_MAX} bytes together, as JSON`,
      ),
      v.description(
        "Environment variables that the plugin sees, with their values; of Atoll's own it sees none.",
      ),
    ),
    {},
  ),
  keyvalue: v.optional(
    v.pipe(
      keyvalueSchema,
      v.description(
        "Namespaces in which the plugin keeps values (wasi:keyvalue), each its own unless shared; " +
          "`default` is also the bucket without a name.",
      ),
    ),
    [],
  ),
  folders: few(folderSchema, "Folders of the host."),
  tcp: tcpSchema,
  udp: udpSchema,
  clocks: clocksSchema,
  random: randomSchema,
  http: v.exactOptional(httpGrantsSchema),
  secrets: v.exactOptional(secretsSchema),
});

/** What the operator grants to one plugin. */
export const grantsSchema = v.pipe(
  grantsEntries,
  v.check(
    (grants) => bytesOf(grants) <= GRANT_MAXIMA.bytes,
    `grants of ${GRANT_MAXIMA.bytes} bytes together, as JSON`,
  ),
  v.check(
    ({ env, secrets = {} }) => Object.keys(secrets).every((name) => !Object.hasOwn(env, name)),
    "names that are either of env or of secrets",
  ),
);

function bytesOf(value: unknown): number {
  return new TextEncoder().encode(JSON.stringify(value)).length;
}

/** What a plugin's author asks for. */
export const wantsSchema = v.strictObject({
  env: v.optional(
    v.pipe(
      v.array(variableNameSchema),
      v.description("Names of environment variables that it reads."),
    ),
    [],
  ),
  keyvalue: v.optional(
    v.pipe(
      v.array(namespaceSchema),
      v.description("Names of namespaces in which it keeps values."),
    ),
    [],
  ),
  folders: few(
    v.strictObject({ at: guestPathSchema, write: writeSchema }),
    "Folders that it uses.",
  ),
  tcp: tcpSchema,
  udp: udpSchema,
  clocks: clocksSchema,
  random: randomSchema,
  http: v.exactOptional(wantedHttpSchema),
  secrets: v.exactOptional(wantedSecretsSchema),
});
