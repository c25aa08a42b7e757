//! Admission of requests to the debug pages: requests of this computer's user, and none that
//! another site's page in the user's browser can make. Such a page can resolve its own name to this
//! computer (DNS rebinding), but its requests carry that name. It can also link to this server, but
//! browsers then mark the request.

use std::net::IpAddr;

use http::{HeaderMap, Method, StatusCode, Uri, header};

/// Checks that a request may be answered. The error is the status and the text of the refusal.
pub(crate) fn admit(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(), (StatusCode, &'static str)> {
    if method != Method::GET {
        return Err((StatusCode::METHOD_NOT_ALLOWED, "only GET is allowed\n"));
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    let named = match (uri.host(), hosts.next(), hosts.next()) {
        (Some(host), ..) => is_here(host),
        (None, Some(host), None) => host.to_str().is_ok_and(|host| is_here(without_port(host))),
        _ => false,
    };
    if !named {
        return Err((
            StatusCode::FORBIDDEN,
            "only requests for localhost or for a loopback address are allowed\n",
        ));
    }
    let from = headers.get("sec-fetch-site").and_then(|site| site.to_str().ok());
    if matches!(from, Some("cross-site" | "same-site")) {
        return Err((StatusCode::FORBIDDEN, "requests of other sites are not allowed\n"));
    }
    Ok(())
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

fn is_here(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || address.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Method, Uri, header};

    use super::admit;

    fn status(method: &Method, host: &'static str, site: Option<&'static str>) -> u16 {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static(host));
        if let Some(site) = site {
            headers.insert("sec-fetch-site", HeaderValue::from_static(site));
        }
        match admit(method, &Uri::from_static("/debug"), &headers) {
            Ok(()) => 200,
            Err((status, _)) => status.as_u16(),
        }
    }

    #[test]
    fn only_this_computer_is_answered() {
        for host in ["localhost", "LocalHost:80", "127.0.0.1:9", "127.1.2.3", "[::1]:80", "[::1]"] {
            assert_eq!(status(&Method::GET, host, None), 200, "{host}");
        }
        for host in ["", "evil.example", "localhost.evil.example", "127.0.0.1.evil", "10.0.0.1:80"]
        {
            assert_eq!(status(&Method::GET, host, None), 403, "{host}");
        }
        assert_eq!(status(&Method::POST, "localhost", None), 405);
        assert_eq!(status(&Method::GET, "localhost", Some("cross-site")), 403);
        assert_eq!(status(&Method::GET, "localhost", Some("same-origin")), 200);
        assert_eq!(status(&Method::GET, "localhost", Some("none")), 200);
        let absolute = Uri::from_static("http://evil.example/debug");
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("localhost"));
        assert!(admit(&Method::GET, &absolute, &headers).is_err());
        let path = Uri::from_static("/debug");
        assert!(admit(&Method::GET, &path, &HeaderMap::new()).is_err());
        headers.append(header::HOST, HeaderValue::from_static("localhost"));
        assert!(admit(&Method::GET, &path, &headers).is_err());
    }
}
