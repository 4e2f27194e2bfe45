/**
 * What a plugin's author asks the operator for, and which grant would give it.
 *
 * Owns: the names of what is wanted and whether a grant covers it. Asking grants nothing; whether a
 * guest may do something is the engine's to decide.
 */
import {
  type FolderGrant,
  folderName,
  type Grants,
  portsOf,
  type SocketGrant,
  socketName,
} from "./grants.ts";
import { coversRule, type HttpRule, ruleText } from "./http_rule.ts";

/** What a manifest asks for. */
export interface Wants {
  /** Names of environment variables. */
  readonly env: readonly string[];
  /** Names of namespaces. */
  readonly keyvalue: readonly string[];
  /** HTTP requests. */
  readonly http?: readonly HttpRule[];
  /** Names of secrets; what they are and where they may be sent is the operator's to say. */
  readonly secrets?: readonly string[];
  /** Folders by the guest's path; where they are is the operator's to say. */
  readonly folders?: readonly Pick<FolderGrant, "at" | "write">[];
  readonly tcp?: readonly SocketGrant[];
  readonly udp?: readonly SocketGrant[];
  /** How finely its clocks have to tell time, in microseconds. */
  readonly clocks?: { readonly resolutionUs: number };
  /** Calls that have the same randomness; the operator may choose another seed. */
  readonly random?: { readonly seed: number };
}

/** Something that is wanted. */
export interface Wanted {
  /** Its path, as in `env.LANG`. */
  readonly name: string;
  /** The grants that would give it, as in the configuration; what only the operator knows is named. */
  readonly grant: Readonly<Record<string, unknown>>;
}

interface Ask extends Wanted {
  readonly isGranted: (grants: Grants) => boolean;
}

/** What is wanted and not granted. */
export function missingGrants(wants: Wants, grants: Grants): readonly Wanted[] {
  return asks(wants).filter((ask) => !ask.isGranted(grants))
    .map(({ name, grant }) => ({ name, grant }));
}

/** The part of the configuration that would grant something to a plugin. */
export function grantThatAllows(plugin: string, { grant }: Wanted) {
  return { pluginSettings: { [plugin]: { grants: grant } } };
}

function asks(wants: Wants): readonly Ask[] {
  const { env, keyvalue, http = [], secrets = [], folders = [], clocks, random } = wants;
  return [
    ...env.map((name): Ask => ({
      name: `env.${name}`,
      grant: { env: { [name]: "VALUE" } },
      isGranted: (grants) => Object.hasOwn(grants.env, name),
    })),
    ...keyvalue.map((name): Ask => ({
      name: `keyvalue.${name}`,
      grant: { keyvalue: [name] },
      isGranted: (grants) => grants.keyvalue.some((granted) => granted.name === name),
    })),
    ...http.map((rule): Ask => ({
      name: `http.${ruleText(rule)}`,
      grant: { http: [rule] },
      isGranted: (grants) => grants.http?.some((given) => coversRule(given, rule)) ?? false,
    })),
    ...secrets.map((name): Ask => ({
      name: `secrets.${name}`,
      grant: { secrets: { [name]: { env: name, hosts: ["HOST"] } } },
      isGranted: (grants) => Object.hasOwn(grants.secrets ?? {}, name),
    })),
    ...folders.map((folder): Ask => ({
      name: folderName(folder),
      grant: { folders: [{ path: "PATH", ...folder }] },
      isGranted: (grants) =>
        grants.folders?.some(({ at, write = false }) =>
          at === folder.at && (write || folder.write !== true)
        ) ?? false,
    })),
    ...socketAsks("tcp", wants.tcp ?? []),
    ...socketAsks("udp", wants.udp ?? []),
    ...(clocks === undefined ? [] : [{
      name: "clocks.resolutionUs",
      grant: { clocks },
      isGranted: (grants: Grants) => (grants.clocks?.resolutionUs ?? 1_000) <= clocks.resolutionUs,
    }]),
    ...(random === undefined ? [] : [{
      name: "random.seed",
      grant: { random },
      isGranted: (grants: Grants) => grants.random !== undefined,
    }]),
  ];
}

function socketAsks(protocol: "tcp" | "udp", rules: readonly SocketGrant[]): readonly Ask[] {
  return rules.map((rule): Ask => ({
    name: socketName(protocol, rule),
    grant: { [protocol]: [rule] },
    isGranted: (grants) => grants[protocol]?.some((given) => covers(given, rule)) ?? false,
  }));
}

/** Whether one rule says all that another asks for, as far as it is written the same way. */
function covers(given: SocketGrant, asked: SocketGrant): boolean {
  if ((given.listen ?? false) !== (asked.listen ?? false)) return false;
  const [[from, to], [first, last]] = [portsOf(given.port), portsOf(asked.port)];
  if (first < from || last > to) return false;
  const [have, want] = [given.host.toLowerCase(), asked.host.toLowerCase()];
  return have === want || (have.startsWith("*.") && want.endsWith(have.slice(1)));
}
