//! Which requests a plugin may send.
//!
//! Owns: the patterns of a rule and whether a request fits them. It must not know how a request is
//! sent.

use http::Method;

use super::uri::{Host, Target, standard_port};
use crate::grants::HttpRule;

/// Hosts that a rule or a secret is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// Every one.
    Any,
    /// Names below this one, which is kept with a dot before it.
    Below(String),
    /// This one.
    Only(Host),
}

impl HostPattern {
    /// `api.example.com`, `*.example.com`, `*`, `10.0.0.5` or `[::1]`.
    pub fn parse(text: &str) -> Option<HostPattern> {
        if text == "*" {
            return Some(HostPattern::Any);
        }
        if let Some(name) = text.strip_prefix("*.") {
            return match Host::parse(name)? {
                Host::Name(name) => Some(HostPattern::Below(format!(".{name}"))),
                Host::Address(_) => None,
            };
        }
        // An address of six may stand without its brackets: no port follows.
        match text.parse() {
            Ok(address) => Some(HostPattern::Only(Host::Address(address))),
            Err(_) => Host::parse(text).map(HostPattern::Only),
        }
    }

    /// Whether it is for this host.
    pub fn fits(&self, host: &Host) -> bool {
        match (self, host) {
            (HostPattern::Any, _) => true,
            (HostPattern::Only(only), host) => only == host,
            (HostPattern::Below(below), Host::Name(name)) => {
                name.len() > below.len() && name.ends_with(below)
            }
            (HostPattern::Below(_), Host::Address(_)) => false,
        }
    }

    /// Whether it names this very address.
    pub fn names_address(&self) -> bool {
        matches!(self, HostPattern::Only(Host::Address(_)))
    }
}

/// Paths that a rule is for: segments of which one may be `*`; as the last one it stands for one or
/// more of them.
#[derive(Debug)]
struct PathPattern(Vec<String>);

impl PathPattern {
    fn parse(text: &str) -> Option<PathPattern> {
        let segments = text.strip_prefix('/')?.split('/');
        let segments: Vec<String> = segments.map(str::to_owned).collect();
        let fit = segments.iter().all(|segment| {
            segment == "*"
                || !(segment.contains(['*', '?', '#']) || segment == "." || segment == "..")
        });
        fit.then_some(PathPattern(segments))
    }

    fn fits(&self, path: &str) -> bool {
        let mut segments = path.split('/').skip(1);
        let (last, first) = match self.0.split_last() {
            Some(split) => split,
            None => return false,
        };
        for expected in first {
            match segments.next() {
                Some(segment) if expected == "*" || expected == segment => {}
                _ => return false,
            }
        }
        match segments.next() {
            None => false,
            Some(_) if last == "*" => true,
            Some(segment) => last == segment && segments.next().is_none(),
        }
    }
}

/// A rule, ready to be matched.
#[derive(Debug)]
pub struct Rule {
    /// As the operator wrote it.
    pub terms: HttpRule,
    host: HostPattern,
    port: u16,
    methods: Option<Vec<Method>>,
    path: Option<PathPattern>,
}

impl Rule {
    /// Reads what the operator wrote. The error is a sentence.
    pub fn new(terms: &HttpRule) -> Result<Rule, String> {
        let what = |part: &str, text: &str| format!("\"{text}\" is no {part} of a rule of http");
        let tls = match terms.scheme.as_str() {
            "https" => true,
            "http" => false,
            other => return Err(what("scheme", other)),
        };
        let host = HostPattern::parse(&terms.host).ok_or_else(|| what("host", &terms.host))?;
        let path = match &terms.path {
            None => None,
            Some(path) => Some(PathPattern::parse(path).ok_or_else(|| what("path", path))?),
        };
        let methods = match &terms.methods {
            None => None,
            Some(names) => Some(
                names
                    .iter()
                    .map(|name| {
                        Method::from_bytes(name.as_bytes()).map_err(|_| what("method", name))
                    })
                    .collect::<Result<Vec<Method>, String>>()?,
            ),
        };
        Ok(Rule {
            host,
            port: terms.port.unwrap_or(standard_port(tls)),
            methods,
            path,
            terms: terms.clone(),
        })
    }

    /// Whether a request may be sent under it.
    pub fn fits(&self, method: &Method, target: &Target) -> bool {
        let paths = |pattern: &PathPattern| target.each_path(|path| pattern.fits(path));
        self.terms.scheme == target.scheme()
            && self.port == target.port
            && self.host.fits(&target.host)
            && self.methods.as_ref().is_none_or(|all| all.contains(method))
            && self.path.as_ref().is_none_or(paths)
    }

    /// Whether it names the address that it is for.
    pub fn names_address(&self) -> bool {
        self.host.names_address()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(json: &str) -> Rule {
        Rule::new(&serde_json::from_str(json).expect("JSON")).expect("a rule")
    }

    #[track_caller]
    fn fits(rule: &Rule, request: &str) -> bool {
        let (method, uri) = request.split_once(' ').expect("a method");
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let uri = uri.parse().expect("a URI");
        Target::of(&uri).is_some_and(|target| rule.fits(&method, &target))
    }

    #[track_caller]
    fn check(json: &str, yes: &[&str], no: &[&str]) {
        let rule = rule(json);
        for request in yes {
            assert!(fits(&rule, request), "{json} allows {request}");
        }
        for request in no {
            assert!(!fits(&rule, request), "{json} denies {request}");
        }
    }

    #[test]
    fn a_rule_is_for_one_scheme_and_port() {
        check(
            r#"{"host":"a.example"}"#,
            &["GET https://a.example/", "PUT https://A.EXAMPLE.:443/x?y"],
            &[
                "GET http://a.example/",
                "GET https://a.example:444/",
                "GET http://a.example:443/",
                "GET https://b.example/",
                "GET https://a.example.evil.example/",
                "GET https://xa.example/",
                "GET https://u@a.example/",
            ],
        );
        check(
            r#"{"host":"a.example","scheme":"http","port":8080}"#,
            &["GET http://a.example:8080/"],
            &["GET http://a.example/", "GET https://a.example:8080/"],
        );
    }

    #[test]
    fn a_pattern_of_hosts_ends_at_a_dot() {
        check(
            r#"{"host":"*.example.com"}"#,
            &["GET https://a.example.com/", "GET https://a.b.Example.com/"],
            &[
                "GET https://example.com/",
                "GET https://evilexample.com/",
                "GET https://a.example.com.evil/",
                "GET https://10.0.0.1/",
            ],
        );
        check(
            r#"{"host":"10.0.0.5"}"#,
            &["GET https://10.0.0.5/"],
            &["GET https://10.0.0.50/", "GET https://[::ffff:10.0.0.5]/"],
        );
        for host in ["::1", "[::1]", "[0:0::1]"] {
            check(
                &format!(r#"{{"host":"{host}"}}"#),
                &["GET https://[::1]/"],
                &["GET https://[::2]/"],
            );
        }
        check(
            r#"{"host":"*"}"#,
            &["GET https://x/", "GET https://1.1.1.1/"],
            &[],
        );
        for host in [
            "",
            "*.",
            "a.*",
            "*a.example",
            "*.10.0.0.1",
            "a/b",
            "a:1",
            "http://a",
            "*.*",
        ] {
            let terms = format!(r#"{{"host":"{host}"}}"#);
            let terms: HttpRule = serde_json::from_str(&terms).expect("JSON");
            assert!(Rule::new(&terms).is_err(), "{host}");
        }
    }

    #[test]
    fn methods_are_compared_as_they_are() {
        check(
            r#"{"host":"a.example","methods":["GET","HEAD"]}"#,
            &["GET https://a.example/", "HEAD https://a.example/"],
            &["POST https://a.example/", "get https://a.example/"],
        );
        check(
            r#"{"host":"a.example","methods":[]}"#,
            &[],
            &["GET https://a.example/"],
        );
    }

    #[test]
    fn a_path_never_leads_out_of_its_pattern() {
        check(
            r#"{"host":"h","path":"/v1/*"}"#,
            &[
                "GET https://h/v1/",
                "GET https://h/v1/a",
                "GET https://h/v1/a/b",
                "GET https://h/v1/a/../b",
                "GET https://h/admin/../v1/a",
                "GET https://h/%761/a",
                "GET https://h/v1/a?x=/../../admin",
                "GET https://h/v1/group%2Fproject",
            ],
            &[
                "GET https://h/v1",
                "GET https://h/",
                "GET https://h/v10/a",
                "GET https://h/V1/a",
                "GET https://h/v1/../admin",
                "GET https://h/v1/%2e%2e/admin",
                "GET https://h/v1/.%2E/admin",
                "GET https://h/v1/..%2fadmin",
                "GET https://h/v1/..%5cadmin",
                "GET https://h/v1/%252e%252e/admin",
                "GET https://h/v1/%252e%252e%252fadmin",
                "GET https://h/v1/..;/admin",
                "GET https://h/v1//../../admin",
                "GET https://h//v1/../admin",
                "GET https://h/v1/a%5Cb%2F..%2F..%2Fadmin",
                "GET https://h/v1/a%252Fb%2F..%2F..%2Fadmin",
                "GET https://h/v1/x;%2Fy%2Fz/..%2F..%2Fadmin",
            ],
        );
        check(
            r#"{"host":"h","path":"/repos/*/issues"}"#,
            &["GET https://h/repos/a/issues"],
            &[
                "GET https://h/repos/a/b/issues",
                "GET https://h/repos/issues",
                "GET https://h/repos/a/issues/",
                "GET https://h/repos/a/issues/../keys",
                "GET https://h/repos/a%2fb/issues",
            ],
        );
        check(
            r#"{"host":"h","path":"/"}"#,
            &["GET https://h", "GET https://h/?q"],
            &["GET https://h/a", "GET https://h/%2e%2e/a"],
        );
        check(
            r#"{"host":"h","path":"/*"}"#,
            &["GET https://h/", "GET https://h/a/b"],
            &[],
        );
        for path in ["", "v1", "/a*", "/v1/../x", "/a?b", "/./a"] {
            let terms = format!(r#"{{"host":"h","path":"{path}"}}"#);
            let terms: HttpRule = serde_json::from_str(&terms).expect("JSON");
            assert!(Rule::new(&terms).is_err(), "{path}");
        }
    }

    #[test]
    fn whatever_way_is_taken_out_of_a_folder_is_denied() {
        let rule = rule(r#"{"host":"h","path":"/v1/*"}"#);
        let ups = [
            "..",
            "%2e%2e",
            ".%2E",
            "%252e.",
            "..;a=b",
            "%2e%2e%3b",
            "%25%32%65.",
        ];
        let slashes = ["/", "%2f", "%5C", "%252F", "//", "/./", "\\", "/%2e/"];
        // Each is one folder to some servers and two to others.
        let fillers = ["a%5Cb", "a%252Fb", "x;%2Fy"];
        let mut seen = Vec::new();
        let mut check = |uri: String| {
            let Ok(uri) = uri.parse() else { return };
            let Some(target) = Target::of(&uri) else {
                return;
            };
            // An empty segment is one: `/v1//../admin` is in the folder, and is sent without.
            let names: Vec<&str> = target.path.split('/').filter(|s| !s.is_empty()).collect();
            let inside = match names.as_slice() {
                ["v1", between @ .., "admin"] => between.iter().all(|name| fillers.contains(name)),
                _ => false,
            };
            assert_eq!(rule.fits(&Method::GET, &target), inside, "{uri}");
            seen.push(inside);
        };
        for up in ups {
            for first in slashes {
                for second in slashes {
                    check(format!("https://h/v1{first}{up}{second}admin"));
                    for filler in fillers {
                        let ups = format!("{first}{up}{second}{up}");
                        check(format!("https://h/v1/{filler}{ups}{second}admin"));
                        check(format!("https://h/v1{first}{filler}{ups}/admin"));
                    }
                }
            }
        }
        assert!(seen.contains(&true) && seen.iter().filter(|inside| !*inside).count() > 2_000);
    }
}
