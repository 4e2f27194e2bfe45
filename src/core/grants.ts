/**
 * What the operator grants to a plugin: names and meaning. Absent is denied. Configuration, engines
 * and messages use these names; `native/sandbox/src/grants.rs` reads the same JSON.
 */
import { type HttpRule, ruleText } from "./http_rule.ts";

export type { HttpRule } from "./http_rule.ts";

/** A secret as the operator names it: where its value is, and where it may be sent. */
export interface SecretGrant {
  /** A variable of Atoll's own environment; or else give `file`. */
  readonly env?: string;
  readonly file?: string;
  /** Hosts as in a rule of `http`. */
  readonly hosts: readonly string[];
}

/** A secret with its value, on its way to the engine. Never printed. */
export interface Secret {
  readonly value: string;
  readonly hosts: readonly string[];
}

/** Grants of one plugin. */
export interface Grants {
  /** Environment variables that the guest sees, with their values. */
  readonly env: Readonly<Record<string, string>>;
  /** Namespaces of `wasi:keyvalue`. */
  readonly keyvalue: readonly KeyvalueGrant[];
  /** Folders of the host. */
  readonly folders?: readonly FolderGrant[];
  /** Whom it may reach by TCP, and where it may be reached. */
  readonly tcp?: readonly SocketGrant[];
  /** The same by UDP. */
  readonly udp?: readonly SocketGrant[];
  /** How finely its clocks tell time, in microseconds; absent: 1,000. */
  readonly clocks?: { readonly resolutionUs: number };
  /** The seed of every call's randomness; absent: each call has its own. */
  readonly random?: { readonly seed: number };
  /** HTTP requests that it may send. */
  readonly http?: readonly HttpRule[];
  /** Secrets, by the name of the variable in which the guest finds what stands for them. */
  readonly secrets?: Readonly<Record<string, SecretGrant>>;
}

/** The same with the values of secrets: what an engine takes. */
export interface EngineGrants extends Omit<Grants, "secrets"> {
  readonly secrets?: Readonly<Record<string, Secret>>;
}

/** A folder of the host that the guest finds at a path of its own. */
export interface FolderGrant {
  /** Where it is; absolute once the configuration is read. */
  readonly path: string;
  /** Where the guest finds it. */
  readonly at: string;
  /** Whether the guest may change what is in it; absent: no. */
  readonly write?: boolean;
  /** The most it may hold, in bytes, where the guest may write; absent: 64 MiB. */
  readonly bytes?: number;
}

/** Addresses of one protocol. */
export interface SocketGrant {
  /** `db.example.com`, `*.example.com`, `10.0.0.5` or `10.0.0.0/8`. */
  readonly host: string;
  /** A port, or the first and the last of several. */
  readonly port: number | readonly [first: number, last: number];
  /** The guest may be reached there; absent: it may reach it. */
  readonly listen?: boolean;
}

/** A namespace in which a plugin keeps values. */
export interface KeyvalueGrant {
  /** What the plugin opens; `default` is also the bucket without a name. */
  readonly name: string;
  /** Most bytes of all its entries: keys twice, values and 64 bytes for each. */
  readonly bytes: number;
  /** Whether it is one and the same for all plugins that are granted it so. */
  readonly shared: boolean;
}

/** Most of what one plugin's grants have; together they go to the native engine in one request. */
export const GRANT_MAXIMA = {
  /** Rules of each of `http`, `tcp`, `udp` and `folders`. */
  rules: 64,
  namespaces: 32,
  secrets: 16,
  /** Hosts of a secret. */
  secretHosts: 16,
  /** Methods of a rule of `http`. */
  methods: 16,
  /** Bytes of all of them as JSON, without the values of secrets. */
  bytes: 40 * 1024,
} as const;

/** What a plugin has that the configuration does not mention. */
export const NO_GRANTS: Omit<Grants, "http" | "secrets"> = { env: {}, keyvalue: [] };

/** Paths of all single grants, as in `env.LANG`. */
export function grantNames(grants: Grants | EngineGrants): readonly string[] {
  const { env, keyvalue, http = [], secrets = {}, folders = [], tcp = [], udp = [] } = grants;
  return [
    ...Object.keys(env).map((name) => `env.${name}`),
    ...keyvalue.map(({ name }) => `keyvalue.${name}`),
    ...http.map((rule) => `http.${ruleText(rule)}`),
    ...Object.keys(secrets).map((name) => `secrets.${name}`),
    ...folders.map(folderName),
    ...tcp.map((rule) => socketName("tcp", rule)),
    ...udp.map((rule) => socketName("udp", rule)),
    ...(grants.clocks === undefined ? [] : ["clocks.resolutionUs"]),
    ...(grants.random === undefined ? [] : ["random.seed"]),
  ];
}

/** `folders./data`, with what may be done where that is more than to read. */
export function folderName({ at, write = false }: Pick<FolderGrant, "at" | "write">): string {
  return `folders.${at}${write ? " (write)" : ""}`;
}

/** `tcp.db.example.com:5432`. */
export function socketName(protocol: "tcp" | "udp", { host, port, listen }: SocketGrant): string {
  const [first, last] = portsOf(port);
  const ports = first === last ? `${first}` : `${first}-${last}`;
  return `${protocol}.${host}:${ports}${listen === true ? " (listen)" : ""}`;
}

/** The first and the last port of a rule. */
export function portsOf(port: SocketGrant["port"]): readonly [first: number, last: number] {
  return typeof port === "number" ? [port, port] : port;
}
