use super::*;

#[test]
fn urls_are_https_or_of_this_machine() {
    for url in [
        "https://idp.example.com",
        "https://idp.example.com/realms/main/",
        "https://idp.example.com:8443/realms/main",
        "http://127.0.0.1:8180/realms/main",
        "http://localhost/x",
        "http://[::1]:8180",
        "https://[2001:db8::1]/x",
    ] {
        assert_eq!(check_outside_url(url), Ok(()), "{url}");
    }
    for url in [
        "",
        "idp.example.com",
        "ftp://idp.example.com",
        "http://idp.example.com",
        "http://localhost.example.com",
        "http://127.0.0.1@idp.example.com",
        "https://user:pw@idp.example.com",
        "https://idp.example.com/?a=b",
        "https://idp.example.com/#a",
        "https://idp.example.com\\a",
        "https://idp.example.com/%2e",
        "https://idp.example.com/ a",
        "https://",
        "https:///a",
        "https://idp.example.com:0",
        "https://idp.example.com:99999",
        "https://[::1",
        "https://[::1]x",
        "https://[idp.example.com]",
        "https://a:b:443",
    ] {
        assert!(check_outside_url(url).is_err(), "{url}");
    }
}
