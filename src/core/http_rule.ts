/**
 * A rule for HTTP requests: its parts, its text in messages, and whether it allows what another one
 * asks for. Whether a request fits a rule is decided in `native/sandbox/src/egress/rules.rs`.
 */

/** Requests of one kind. */
export interface HttpRule {
  /** `api.example.com`, `*.example.com`, `*` or an address. */
  readonly host: string;
  /** Absent: https. */
  readonly scheme?: "https" | "http";
  /** Absent: the scheme's own. */
  readonly port?: number;
  /** Absent: any. */
  readonly methods?: readonly string[];
  /** `/v1/*`; absent: any. */
  readonly path?: string;
  /** Also to private addresses. */
  readonly private?: boolean;
  /** How long connecting, the first byte and each pause may take, in milliseconds. */
  readonly timeoutMs?: number;
  readonly requestBytes?: number;
  readonly responseBytes?: number;
}

const PORTS = { https: 443, http: 80 } as const;

/** `GET,POST https://*.example.com:8443/v1/*`. */
export function ruleText({ host, scheme = "https", port, methods, path = "" }: HttpRule): string {
  const prefix = methods === undefined ? "" : `${methods.join(",")} `;
  const authority = host.includes(":") && !host.startsWith("[") ? `[${host}]` : host;
  const suffix = port === undefined || port === PORTS[scheme] ? "" : `:${port}`;
  return `${prefix}${scheme}://${authority}${suffix}${path}`;
}

/** Whether a rule allows everything that another one does. */
export function coversRule(rule: HttpRule, wanted: HttpRule): boolean {
  const { scheme = "https", methods, path } = rule;
  const { scheme: wantedScheme = "https" } = wanted;
  return scheme === wantedScheme &&
    (rule.port ?? PORTS[scheme]) === (wanted.port ?? PORTS[wantedScheme]) &&
    coversHost(rule.host.toLowerCase(), wanted.host.toLowerCase()) &&
    (methods === undefined ||
      wanted.methods?.every((method) => methods.includes(method)) === true) &&
    (path === undefined || wanted.path !== undefined && coversPath(path, wanted.path));
}

function coversHost(host: string, wanted: string): boolean {
  if (host === "*" || host === wanted) return true;
  return host.startsWith("*.") && wanted.endsWith(host.slice(1)) && wanted !== host.slice(1);
}

function coversPath(path: string, wanted: string): boolean {
  if (path === wanted) return true;
  const prefix = path.slice(0, -1);
  return path.endsWith("/*") && !prefix.includes("*") && wanted.startsWith(prefix);
}
