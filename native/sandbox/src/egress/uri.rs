//! Where a request goes, in one spelling.
//!
//! Owns: the normal form of scheme, host, port and path, and the readings that servers may give a
//! path. What has no normal form is refused. It must not know rules.
//!
//! A rule that is matched against one spelling and a server that reads another one are how filters
//! are passed by: what is matched here is what is sent.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::Uri;
use http::uri::Scheme;

/// Longest name of a host, RFC 1035.
const HOST_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// How often a server may decode a path that is encoded more than once.
const DECODINGS_MAX: usize = 4;

/// A host in one spelling.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// Small letters, no dot at the end.
    Name(String),
    /// An address, written as one.
    Address(IpAddr),
}

impl Host {
    /// Reads a host as it stands in a URI: an address of six in brackets.
    pub fn parse(text: &str) -> Option<Host> {
        if let Some(inner) = text.strip_prefix('[') {
            let address: Ipv6Addr = inner.strip_suffix(']')?.parse().ok()?;
            return Some(Host::Address(address.into()));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if let Ok(address) = name.parse::<Ipv4Addr>() {
            return Some(Host::Address(address.into()));
        }
        let labels_fit = name.split('.').all(|label| {
            (1..=LABEL_BYTES_MAX).contains(&label.len())
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        });
        // `0x7f.1`, `017700000001` and `2130706433` are addresses to a resolver.
        let last = name.rsplit('.').next().unwrap_or_default();
        let numeric = last.bytes().all(|b| b.is_ascii_digit())
            || last
                .strip_prefix("0x")
                .is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_hexdigit()));
        (labels_fit && !numeric && name.len() <= HOST_BYTES_MAX).then_some(Host::Name(name))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => to.write_str(name),
            Host::Address(IpAddr::V4(address)) => address.fmt(to),
            Host::Address(IpAddr::V6(address)) => write!(to, "[{address}]"),
        }
    }
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// By TLS.
    pub tls: bool,
    /// The host.
    pub host: Host,
    /// The port, also where it is the scheme's own.
    pub port: u16,
    /// The path without dot segments, at least `/`.
    pub path: String,
    /// The query as it was, without its question mark.
    pub query: Option<String>,
    lenient: Option<Vec<String>>,
}

impl Target {
    /// Reads a URI. `None`: it names nobody, somebody in two ways, or a user.
    pub fn of(uri: &Uri) -> Option<Target> {
        let tls = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return None,
        };
        let authority = uri.authority()?;
        let text = authority.as_str();
        let rest = text.strip_prefix(authority.host())?;
        let host = Host::parse(authority.host())?;
        let port = match rest.strip_prefix(':') {
            None if rest.is_empty() => standard_port(tls),
            None => return None,
            // A sign would be read as well.
            Some(port) if port.starts_with('+') => return None,
            Some(port) => port.parse().ok().filter(|&port| port != 0)?,
        };
        let path = normal_path(uri.path());
        Some(Target {
            tls,
            host,
            port,
            lenient: lenient_paths(&path),
            path,
            query: uri.query().map(str::to_owned),
        })
    }

    /// Whether this is true of the path in each way that servers may read it.
    pub fn each_path(&self, fits: impl Fn(&str) -> bool) -> bool {
        let lenient = self.lenient.as_ref();
        fits(&self.path) && lenient.is_some_and(|paths| paths.iter().all(|path| fits(path)))
    }

    /// `https` or `http`.
    pub fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }

    /// Host and, where it is not the scheme's own, port: what the `Host` field says.
    pub fn authority(&self) -> String {
        match self.port == standard_port(self.tls) {
            true => self.host.to_string(),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    /// Path and query: what the request line says.
    pub fn path_and_query(&self) -> String {
        match &self.query {
            None => self.path.clone(),
            Some(query) => format!("{}?{query}", self.path),
        }
    }
}

/// Without the query, which may hold what is nobody's business.
impl fmt::Display for Target {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}://{}{}", self.scheme(), self.authority(), self.path)
    }
}

/// The port that a scheme stands for.
pub fn standard_port(tls: bool) -> u16 {
    if tls { 443 } else { 80 }
}

/// The normal form of RFC 3986, 6.2.2: what need not be encoded is not, then dot segments are gone.
fn normal_path(path: &str) -> String {
    let mut text = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, tail @ ..] = rest {
        match encoded(rest) {
            Some(byte) if unreserved(byte) => {
                text.push(byte);
                rest = &rest[3..];
            }
            Some(byte) => {
                text.extend_from_slice(format!("%{byte:02X}").as_bytes());
                rest = &rest[3..];
            }
            None => {
                text.push(*first);
                rest = tail;
            }
        }
    }
    without_dots(&String::from_utf8_lossy(&text))
}

/// The byte that stands encoded at the beginning.
fn encoded(bytes: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = bytes else {
        return None;
    };
    let digit = |byte: u8| (byte as char).to_digit(16);
    u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
}

fn unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Takes dot segments out, RFC 3986, 5.2.4.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut last_is_folder = false;
    for segment in path.split('/').skip(1) {
        last_is_folder = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => {
                kept.pop();
            }
            other => kept.push(other),
        }
    }
    if last_is_folder {
        kept.push("");
    }
    format!("/{}", kept.join("/"))
}

/// The other ways in which servers are known to read a normal path: decoded once or more often, `\`
/// for `/`, parameters behind `;` left out, several slashes as one. None: read so it is the path
/// itself. `None`: one of them has a dot segment, or it is encoded more often than anybody needs.
///
/// Servers decode and take dot segments out in different orders, so that where one leads cannot be
/// told: `/v1/a%5Cb%2F..%2F..` is `/v1` to one and `/` to another.
fn lenient_paths(path: &str) -> Option<Vec<String>> {
    if !path.contains(['%', '\\', ';']) && !path.contains("//") {
        return Some(Vec::new());
    }
    let mut paths = Vec::new();
    let mut bytes = path.as_bytes().to_vec();
    for _ in 0..=DECODINGS_MAX {
        let text = String::from_utf8_lossy(&bytes);
        if text.split(['/', '\\']).any(is_dots) {
            return None;
        }
        paths.push(merged(&text));
        let decoded = decode(&bytes);
        if decoded == bytes {
            return Some(paths);
        }
        bytes = decoded;
    }
    None
}

/// Whether a segment is a dot segment without its parameters.
fn is_dots(segment: &str) -> bool {
    matches!(segment.split(';').next(), Some("." | ".."))
}

/// One kind of slash, each alone, and no parameters.
fn merged(text: &str) -> String {
    let segments = text
        .split(['/', '\\'])
        .filter_map(|segment| segment.split(';').next());
    let mut path = String::new();
    for segment in segments.filter(|segment| !segment.is_empty()) {
        path.push('/');
        path.push_str(segment);
    }
    if path.is_empty() || text.ends_with(['/', '\\']) {
        path.push('/');
    }
    path
}

fn decode(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        match encoded(rest) {
            Some(byte) => {
                text.push(byte);
                rest = &rest[3..];
            }
            None => {
                text.push(*first);
                rest = tail;
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(uri: &str) -> Option<Target> {
        Target::of(&uri.parse().ok()?)
    }

    #[test]
    fn spellings_of_one_place_are_one() {
        for (uri, expected) in [
            ("https://API.Example.COM/", "https://api.example.com/"),
            ("https://api.example.com.:443", "https://api.example.com/"),
            ("http://h:80/a", "http://h/a"),
            ("https://h:80/a", "https://h:80/a"),
            ("https://[::0001]/", "https://[::1]/"),
            ("https://[::FFFF:127.0.0.1]/", "https://[::ffff:127.0.0.1]/"),
            ("https://h/v1/../admin", "https://h/admin"),
            ("https://h/v1/%2e%2E/admin", "https://h/admin"),
            ("https://h/v1/.%2e/admin", "https://h/admin"),
            ("https://h/../../x", "https://h/x"),
            ("https://h/a/./b/.", "https://h/a/b/"),
            ("https://h/a/..", "https://h/"),
            ("https://h/%41%2f%c3%bc", "https://h/A%2F%C3%BC"),
            ("https://h/a?x=../y#f", "https://h/a"),
        ] {
            let target = target(uri).expect(uri);
            assert_eq!(target.to_string(), expected, "{uri}");
        }
        let target = target("https://h/a/../b?x=%2e&y").expect("a target");
        assert_eq!(target.path_and_query(), "/b?x=%2e&y");
    }

    #[test]
    fn what_has_no_normal_form_is_refused() {
        for uri in [
            "https://user@h/",
            "https://user:word@h/",
            "https://good.example@evil.example/",
            "https://h:/",
            "https://h:0/",
            "https://h:65536/",
            "https://h:+1/",
            "https://h:1:2/",
            "https://2130706433/",
            "https://017700000001/",
            "https://0x7f000001/",
            "https://0x7f.1/",
            "https://127.1/",
            "https://127.0.0.256/",
            "https://0177.0.0.1/",
            "https://1.2.3.0x4/",
            "https://h..example/",
            "https://.example/",
            "https://h%2eexample/",
            "https://[fe80::1%25eth0]/",
            "https://[::1/",
            "ftp://h/",
            "/only/a/path",
            "https://b\u{fc}cher.example/",
        ] {
            assert_eq!(target(uri), None, "{uri}");
        }
        let long = format!("https://{}.example/", "a".repeat(64));
        assert_eq!(target(&long), None);
        let long = format!("https://{}example/", "a.".repeat(130));
        assert_eq!(target(&long), None);
    }

    #[test]
    fn servers_may_read_a_path_in_another_way() {
        for (path, read) in [
            ("/v1/a", &[][..]),
            ("//admin", &["/admin"]),
            ("/v1/a;b/", &["/v1/a/"]),
            ("/v1/a\\b\\", &["/v1/a/b/"]),
            ("/%2F", &["/%2F", "/"]),
            (
                "/v1/group%2Fproject",
                &["/v1/group%2Fproject", "/v1/group/project"],
            ),
            ("/v1/a%252Fb", &["/v1/a%252Fb", "/v1/a%2Fb", "/v1/a/b"]),
            ("/v1/x;%2Fy", &["/v1/x", "/v1/x/y"]),
            ("/100%", &["/100%"]),
            (
                "/%252525C3",
                &["/%252525C3", "/%2525C3", "/%25C3", "/%C3", "/\u{fffd}"],
            ),
        ] {
            let paths = lenient_paths(path).expect(path);
            assert_eq!(paths, read, "{path}");
        }
        for path in [
            "/v1/..%2Fadmin",
            "/v1/..%5Cadmin",
            "/v1/..\\admin",
            "/v1/%252e%252e/admin",
            "/v1/%25252e%25252e%25252Fadmin",
            "/v1/..;x=1/admin",
            "/v1/..%3Bx/admin",
            "/v1/a%2F.%2Fb",
            "/v1/a%5Cb%2F..%2F..%2Fadmin",
            "/v1/a%252Fb%2F..%2F..%2Fadmin",
            "/v1/x;%2Fy%2Fz/..%2F..%2Fadmin",
            // Encoded five times, whatever it is.
            "/v1/%2525252541",
        ] {
            assert_eq!(lenient_paths(path), None, "{path}");
        }
    }

    #[test]
    fn a_normal_path_stays_as_it_is() {
        // Every spelling of a few pieces, four long: what is normal once is normal for good, and has
        // no dot segment.
        let pieces = [
            "a", ".", "..", "%2e", "%2E%2e", "%41", "%2f", "", ";", "%25",
        ];
        for number in 0..pieces.len().pow(4) {
            let mut path = String::new();
            let mut rest = number;
            for _ in 0..4 {
                path.push('/');
                path.push_str(pieces[rest % pieces.len()]);
                rest /= pieces.len();
            }
            let normal = normal_path(&path);
            assert_eq!(normal_path(&normal), normal, "{path}");
            for read in lenient_paths(&normal).iter().flatten().chain([&normal]) {
                assert!(read.starts_with('/'), "{path}");
                assert!(!read.split('/').any(|s| s == "." || s == ".."), "{path}");
            }
        }
    }
}
