/**
 * Host and Origin: which names this server answers to, and which web pages may call it.
 *
 * Owns: the check against DNS rebinding. Must not know routes. Both fields are set by browsers and
 * cannot be forged by a page, so a page under a foreign name cannot reach a server on loopback.
 * Source: "Security & Endpoint" of Streamable HTTP, 2026-07-28; attack rows A1 and A2.
 */

export interface OriginOptions {
  /** The address that is listened on; its name is served too. */
  readonly host: string;
  /** Names besides loopback ones, with or without a port; `*` for any. */
  readonly allowedHosts: readonly string[];
  /** Origins besides loopback ones; `*` for any. */
  readonly allowedOrigins: readonly string[];
}

const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/;
/** Addresses that listen on every interface are no names a client could use. */
const UNSPECIFIED = new Set(["0.0.0.0", "::", "[::]"]);
/** A host and its port, as RFC 9110 §7.2 has them; no user information, no path. */
const HOST = /^([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(\d{1,5}))?$/;

export class OriginGuard {
  readonly #hosts: ReadonlySet<string>;
  readonly #origins: ReadonlySet<string>;
  readonly #anyHost: boolean;
  readonly #anyOrigin: boolean;
  /** The last names that passed: clients send the same one again and again. */
  #lastHost = "";
  #lastAuthority = "";

  constructor(options: OriginOptions) {
    this.#anyHost = options.allowedHosts.includes("*");
    this.#anyOrigin = options.allowedOrigins.includes("*");
    const own = UNSPECIFIED.has(options.host) ? [] : [bracketed(options.host)];
    this.#hosts = new Set([...own, ...options.allowedHosts].map((host) => host.toLowerCase()));
    this.#origins = new Set(options.allowedOrigins.map((origin) => origin.toLowerCase()));
  }

  /**
   * Why a request is refused, or null when it may pass.
   * @param origin Its Origin field, or null.
   */
  refusal(request: Request, origin: string | null): string | null {
    const headers = request.headers;
    // HTTP/2 has the name in `:authority`, an absolute request target has one beside the field:
    // both end up in the URL, and that is what a guest sees.
    const authority = authorityOf(request.url);
    if (authority !== this.#lastAuthority) {
      if (!this.hostAllowed(authority)) return hostRefusal(authority);
      this.#lastAuthority = authority;
    }
    const host = headers.get("host");
    if (host !== null && host !== this.#lastHost) {
      if (!this.hostAllowed(host)) return hostRefusal(host);
      this.#lastHost = host;
    }
    if (origin !== null && !this.originAllowed(origin)) {
      return `Origin ${JSON.stringify(origin.slice(0, 128))} may not call (http.allowedOrigins)`;
    }
    return null;
  }

  /** A loopback name, the address that is listened on, or one that the configuration allows. */
  hostAllowed(host: string): boolean {
    const found = HOST.exec(host);
    if (found === null) return false;
    if (this.#anyHost) return true;
    const name = (found[1] ?? "").toLowerCase();
    return LOOPBACK.test(name) || this.#hosts.has(name) || this.#hosts.has(host.toLowerCase());
  }

  /** A page from a loopback name, from a name that is served here, or from an allowed origin. */
  originAllowed(origin: string): boolean {
    if (this.#anyOrigin || this.#origins.has(origin.toLowerCase())) return true;
    const found = /^https?:\/\/(.+)$/i.exec(origin);
    if (found === null) return false;
    const host = found[1] ?? "";
    const name = HOST.exec(host)?.[1]?.toLowerCase();
    if (name === undefined) return false;
    return LOOPBACK.test(name) || this.#hosts.has(name) || this.#hosts.has(host.toLowerCase());
  }
}

function hostRefusal(host: string): string {
  return `Host ${JSON.stringify(host.slice(0, 128))} is not served here (http.allowedHosts)`;
}

function bracketed(host: string): string {
  return host.includes(":") && !host.startsWith("[") ? `[${host}]` : host;
}

function authorityOf(url: string): string {
  const start = url.indexOf("//") + 2;
  const end = url.indexOf("/", start);
  return url.slice(start, end === -1 ? url.length : end);
}
