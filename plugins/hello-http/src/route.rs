//! Which answer a request gets. Knows nothing of WASI, so its tests run anywhere.

/// What a request asks for.
#[derive(Debug, PartialEq)]
pub enum Route {
    Hello,
    Echo,
    Stream { bytes: u64 },
    BadRequest(&'static str),
    NotFound,
}

impl Route {
    /// The route of a method and a request target such as `/stream?bytes=9`.
    pub fn of(method: &str, target: &str) -> Route {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        match (method, path) {
            ("GET", "" | "/") => Route::Hello,
            ("POST", "/echo") => Route::Echo,
            ("GET", "/stream") => match number(query, "bytes") {
                Some(bytes) => Route::Stream { bytes },
                None => Route::BadRequest("bytes must be a whole number, as in /stream?bytes=1000"),
            },
            _ => Route::NotFound,
        }
    }
}

/// The number a query gives for `key`, if it gives one.
fn number(query: &str, key: &str) -> Option<u64> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(name, _)| *name == key)?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::Route;

    #[test]
    fn knows_its_routes() {
        assert_eq!(Route::of("GET", "/"), Route::Hello);
        assert_eq!(Route::of("GET", ""), Route::Hello);
        assert_eq!(Route::of("GET", "/?x=1"), Route::Hello);
        assert_eq!(Route::of("POST", "/echo"), Route::Echo);
        assert_eq!(
            Route::of("GET", "/stream?a=b&bytes=9"),
            Route::Stream { bytes: 9 }
        );
    }

    #[test]
    fn anything_else_is_not_found() {
        assert_eq!(Route::of("POST", "/"), Route::NotFound);
        assert_eq!(Route::of("GET", "/echo"), Route::NotFound);
        assert_eq!(Route::of("GET", "//"), Route::NotFound);
    }

    #[test]
    fn a_stream_needs_a_number() {
        for target in [
            "/stream",
            "/stream?bytes=",
            "/stream?bytes=-1",
            "/stream?bytes=1e3",
        ] {
            assert!(
                matches!(Route::of("GET", target), Route::BadRequest(_)),
                "{target}"
            );
        }
    }
}
