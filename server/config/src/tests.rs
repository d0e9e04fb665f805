use std::path::Path;

use super::*;

const EXAMPLE: &str = include_str!("../../../oauth4os.example.yaml");

/// A folder with the files the example names.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in [
        "gateway.pem",
        "gateway-key.pem",
        "clients-ca.pem",
        "clients.crl",
        "gateway-client.pem",
        "gateway-client-key.pem",
        "engine-ca.pem",
        "dashboards-ca.pem",
        "idp-ca.pem",
        "policies.cedar",
    ] {
        std::fs::write(folder.path().join(name), "x").unwrap();
    }
    folder
}

fn env(name: &str) -> Option<String> {
    match name {
        "OAUTH4OS_MASTER_KEY" => Some("bWFzdGVyLWtleS1tYXN0ZXIta2V5LW1hc3Rlci1rZXk=".to_owned()),
        "LOG_AGENT_SECRET" | "KEYCLOAK_SECRET" => Some("0123456789abcdef0123456789abcdef".to_owned()),
        _ => None,
    }
}

fn parse(text: &str) -> Result<Config, String> {
    let folder = folder();
    Config::parse(text, folder.path(), &env).map_err(|error| error.to_string())
}

/// The example with one line replaced.
fn with(old: &str, new: &str) -> Result<Config, String> {
    assert!(EXAMPLE.contains(old), "the example has no `{old}`");
    parse(&EXAMPLE.replacen(old, new, 1))
}

#[test]
fn the_example_loads_and_shows_every_key() {
    let config = parse(EXAMPLE).unwrap();
    assert_eq!(config.audience(), "https://gateway.example.com");
    assert_eq!(config.clients.len(), 10);
    assert!(config.clients[0].secret_value.is_some());

    let schema = Config::schema();
    let mut keys = Vec::new();
    collect_keys(&schema["properties"], &mut keys);
    for definition in schema["$defs"].as_object().unwrap().values() {
        collect_keys(&definition["properties"], &mut keys);
    }
    for key in keys {
        assert!(EXAMPLE.contains(&format!("{key}:")), "the example does not show `{key}`");
    }
}

fn collect_keys(properties: &serde_json::Value, keys: &mut Vec<String>) {
    keys.extend(properties.as_object().into_iter().flat_map(|map| map.keys().cloned()));
}

#[test]
fn an_unknown_key_is_refused_with_its_place() {
    let error = with("workers: 2", "wrokers: 2").unwrap_err();
    assert!(error.contains("wrokers"), "{error}");
    let error = with("    kind: agent ", "    kid: agent ").unwrap_err();
    assert!(error.contains("kid"), "{error}");
}

#[test]
fn unsafe_settings_are_refused_with_a_sentence() {
    let cases = [
        ("issuer: https://gateway.example.com", "issuer: http://gateway.example.com", "give an `https` URL"),
        ("issuer: https://gateway.example.com", "issuer: https://gateway.example.com/", "final slash"),
        ("issuer: https://gateway.example.com", "issuer: https://gateway.example.com/a", "leave out the path"),
        (
            "url: https://opensearch.example.com:9200",
            "url: http://opensearch.example.com:9200",
            "must not cross a network in clear",
        ),
        (
            "url: https://opensearch.example.com:9200",
            "url: https://admin:pw@opensearch.example.com:9200",
            "host and port only",
        ),
        ("url: https://opensearch.example.com:9200", "url: []", "give one address"),
        (
            "url: https://opensearch.example.com:9200",
            "url: [https://node-1.example.com:9200, http://node-2.example.com:9200]",
            "`http://node-2.example.com:9200`: use `https`",
        ),
        (
            "url: https://opensearch.example.com:9200",
            "url: [https://node-1.example.com:9200, https://node-1.example.com:9200]",
            "the same address twice",
        ),
        ("  requests_in_flight: 10000", "  requests_in_flight: 0", "at least 1"),
        ("  http2_streams: 128", "  http2_streams: 1000000", "from 0 to 10000"),
        ("listen: 127.0.0.1:9464", "listen: 0.0.0.0:9464", "allow_remote: true"),
        ("  certificate: gateway.pem", "  certificate: missing.pem", "there is no file"),
        ("    ca: engine-ca.pem", "    ca: missing.pem", "there is no file"),
        ("  files: [policies.cedar]", "  files: [missing.cedar]", "there is no file"),
        ("    secret: ${LOG_AGENT_SECRET}", "    secret: ${UNSET}", "`UNSET` is not set"),
        ("    secret: ${LOG_AGENT_SECRET}\n", "", "cannot prove who it is"),
        ("  - id: shipper", "  - id: log-agent", "used twice"),
        ("  - id: shipper", "  - id: 'ship per'", "an id has"),
        ("    scopes: [\"write:app-logs-*\"]", "    scopes: []", "at least one scope"),
        ("  lifetime: 1h", "  lifetime: 30d", "from `60s` to `24h`"),
        ("  lifetime: 1h", "  lifetime: 1 hour", "not a length of time"),
        ("  head: 16KiB", "  head: 16kb", "not a size"),
        ("{requests_per_second: 50, burst: 100}", "{requests_per_second: 0, burst: 100}", "lets nothing through"),
        ("workers: 2", "workers: 0", "from 1 to 256"),
        ("listen: 127.0.0.1:9464", "listen: 127.0.0.1:8443", "metrics.listen: is the address of `listen`"),
        (
            "    listen: 0.0.0.0:5601",
            "    listen: 127.0.0.1:8443",
            "upstream.dashboards.listen: is the address of `listen`",
        ),
        ("    listen: 0.0.0.0:5601", "    listen: '[::]:9464'", "is the address of `upstream.dashboards.listen`"),
        ("path: /api/events, verb: read", "path: /api/../events, verb: read", "give a path such as"),
        ("  - id: shipper", "  - id: idp.keycloak.user.ada", "those of providers' principals"),
        ("    parent: customers", "    parent: acme", "`acme` is within itself"),
        ("    parent: customers", "    parent: nobody", "there is no namespace `nobody`"),
        (
            "    namespace: acme",
            "    namespace: nobody",
            "clients `log-agent`: namespace: there is no namespace `nobody`",
        ),
        ("  - name: customers", "  - name: acme", "this name is used twice"),
        ("  - name: customers", "  - {name: 'a b'}\n  - name: customers", "a name has"),
        ("{requests_per_second: 200, burst: 400}", "{requests_per_second: 200, burst: 0}", "lets nothing through"),
        ("    ca: clients-ca.pem", "    ca: missing.pem", "there is no file"),
        ("revoked: [clients.crl]", "revoked: [missing.crl]", "there is no file"),
        ("certificate: {uri: \"spiffe", "certificate: {subject: \"spiffe", "not a distinguished name"),
        ("{dns: beats.example.com}", "{dns: beats.example.com, uri: \"urn:a\"}", "end of mapping"),
        ("{dns: beats.example.com}", "{dns: '*.example.com'}", "name one host"),
        ("{email: otel@example.com}", "{dns: BEATS.example.com}", "a certificate is one client's"),
        ("{dns: beats.example.com}", "{dns: beats.example.com}\n    basic: true", "needs `secret`"),
    ];
    for (old, new, expected) in cases {
        let error = with(old, new).expect_err(new);
        assert!(error.contains(expected), "{new}: {error}");
    }
}

#[test]
fn an_engine_may_have_several_nodes() {
    let config = with(
        "url: https://opensearch.example.com:9200",
        "url: [https://node-1.example.com:9200, \"https://[2001:db8::2]:9201\"]",
    )
    .unwrap();
    let origins = config.clusters()[0].upstream.engine.origins().unwrap();
    let hosts: Vec<(&str, u16)> = origins.iter().map(|origin| (origin.host.as_str(), origin.port)).collect();
    assert_eq!(hosts, [("node-1.example.com", 9200), ("2001:db8::2", 9201)]);
}

#[test]
fn whose_word_the_engine_believes_is_said_in_full() {
    // Dashboards needs a token.
    let (before, rest) = EXAMPLE.split_once("  dashboards:").expect("Dashboards");
    let (_, after) = rest.split_once("\ntokens:\n").expect("what comes after it");
    let example = format!("{before}\ntokens:\n{after}");
    let with = |old: &str, new: &str| parse(&example.replacen(old, new, 1));
    let proxy = |more: &str| with("    driver: jwt\n", &format!("    driver: extended_proxy\n{more}"));
    let config = proxy("    extended_proxy: {addresses: [192.0.2.10, \"2001:db8::10\"]}\n").unwrap();
    assert_eq!(
        config.clusters()[0].upstream.engine.extended_proxy.as_ref().unwrap().trusted_by,
        TrustedBy::Certificate
    );
    assert_eq!(config.clusters()[0].upstream.engine.gateway_addresses().len(), 2);
    let pair = "    client_certificate: {certificate: gateway-client.pem, key: gateway-client-key.pem}\n";
    let without = example.replacen(pair, "", 1).replacen(
        "    driver: jwt\n",
        "    driver: extended_proxy\n    extended_proxy: {addresses: [192.0.2.10], trusted_by: address}\n",
        1,
    );
    parse(&without).unwrap();
    let believing = without.replacen("trusted_by: address", "trusted_by: certificate", 1);
    for (text, expected) in [
        (parse(&believing), "have the engine require one"),
        (proxy(""), "name the addresses"),
        (proxy("    extended_proxy: {addresses: [127.0.0.1]}\n"), "the engine's own address"),
        (with("    driver: jwt\n", "    driver: jwt\n    extended_proxy: {}\n"), "is for `driver: extended_proxy`"),
        (with("url: https://opensearch.example.com:9200\n", "url: http://127.0.0.1:9200\n"), "over `https` only"),
    ] {
        let error = text.unwrap_err();
        assert!(error.contains(expected), "{expected}: {error}");
    }
    let beside = self::with(
        "    driver: jwt\n",
        "    driver: extended_proxy\n    extended_proxy: {trusted_by: address, addresses: [192.0.2.10]}\n",
    );
    assert!(beside.unwrap_err().contains("upstream.dashboards: needs `driver: jwt`"));
    let here = without.replacen("https://opensearch.example.com:9200", "http://localhost:9200", 1);
    let here = parse(&here.replacen("addresses: [192.0.2.10], ", "", 1)).unwrap();
    let own = here.clusters()[0].upstream.engine.gateway_addresses();
    assert!(own.len() == 2 && own.iter().all(std::net::IpAddr::is_loopback), "{own:?}");
    let role = without.replacen("backend_roles: [analysts]", "backend_roles: [prüfer]", 1);
    assert!(parse(&role).unwrap_err().contains("printable ASCII"));
}

#[test]
fn a_secret_written_into_the_file_is_refused_and_not_repeated() {
    let error = with("secret: ${LOG_AGENT_SECRET}", "secret: hunter2hunter2hunter2hunter2hunter2").unwrap_err();
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn secrets_are_not_shown_by_debug() {
    let shown = format!("{:?}", parse(EXAMPLE).unwrap());
    assert!(!shown.contains("0123456789abcdef"), "{shown}");
}

#[test]
fn a_short_secret_is_refused() {
    let error = Config::parse(EXAMPLE, folder().path(), &|name| match name {
        "LOG_AGENT_SECRET" => Some("short".to_owned()),
        other => env(other),
    })
    .unwrap_err()
    .to_string();
    assert!(error.contains("shorter than 32"), "{error}");
}

#[test]
fn a_missing_file_is_named() {
    let error = Config::load(Path::new("does-not-exist.yaml")).unwrap_err().to_string();
    assert!(error.contains("does-not-exist.yaml"), "{error}");
}

const ISSUER: &str = "    issuer: https://idp.example.com/realms/main";
const ROLES: &str = "      roles: [realm_access.roles, resource_access.oauth4os.roles]";

#[test]
fn a_provider_is_read_with_its_defaults() {
    let config = parse(EXAMPLE).unwrap();
    let [provider] = &config.providers[..] else { panic!("one provider") };
    assert_eq!(provider.audience.values(), ["oauth4os"]);
    assert_eq!(provider.claims.roles.values().len(), 2);
    assert_eq!(provider.scope_mapping.roles["logs-reader"][0].scope(), "read:logs-*");

    let (before, rest) = EXAMPLE.split_once("providers:\n").unwrap();
    let (_, after) = rest.split_once("\n\n").unwrap();
    let short =
        "providers:\n  - {name: p, issuer: \"https://idp.example.com\", audience: a, login: {client_id: g}}\n\n";
    let config = parse(&format!("{before}{short}{after}")).unwrap();
    let provider = &config.providers[0];
    assert_eq!(
        (provider.audience.values(), provider.algorithms.len(), provider.types.len()),
        (&["a".to_owned()][..], 10, 3)
    );
    assert_eq!((provider.claims.subject.steps(), provider.kind), (&["sub".to_owned()][..], OutsideKind::User));
    assert!(provider.claims.groups.is_none() && provider.claims.roles.values().is_empty());
    assert!(provider.scope_mapping.scopes.is_empty() && provider.client_kinds.is_empty());
    let for_persons = |line: &&str| line.contains("redirect_uris:") || line.contains("persons_only:");
    let before: String = before.lines().filter(|line| !for_persons(line)).map(|line| format!("{line}\n")).collect();
    let none = parse(&format!("{before}{after}")).unwrap();
    assert!(none.providers.is_empty());
}

#[test]
fn an_unsafe_provider_is_refused_with_a_sentence() {
    let twin = "  - {name: two, issuer: https://idp.example.com/realms/main/, audience: a}\n  - name: keycloak";
    let cases = [
        (ISSUER, "    issuer: http://idp.example.com/realms/main", "use `https`"),
        (ISSUER, "    issuer: https://admin@idp.example.com/x", "without user"),
        (ISSUER, "    issuer: https://gateway.example.com", "is the gateway's own"),
        (ISSUER, "    issuer: https://gateway.example.com/", "is the gateway's own"),
        ("  - name: keycloak", twin, "is used twice; a token must belong to one provider"),
        (
            "  - name: keycloak",
            "  - {name: Keycloak, issuer: https://b.example.com, audience: a}\n  - name: keycloak",
            "this name is used twice",
        ),
        ("  - name: keycloak", "  - name: key.cloak", "a name has"),
        ("  - name: keycloak", "  - name: ''", "a name has"),
        ("    audience: [oauth4os]", "    audience: []", "tokens for any other service"),
        ("    audience: [oauth4os]", "    audience: ''", "tokens for any other service"),
        ("    audience: [oauth4os] ", "    # ", "audience"),
        ("authorized_parties: [console, ci]", "authorized_parties: []", "name at least one client"),
        ("    jwks_uri: https:", "    jwks_uri: http:", "use `https`"),
        ("    ca: idp-ca.pem", "    ca: missing.pem", "there is no file"),
        ("[RS256, ES256, PS256, EdDSA]", "[RS256, none]", "none"),
        ("[RS256, ES256, PS256, EdDSA]", "[HS256]", "HS256"),
        ("[RS256, ES256, PS256, EdDSA]", "[]", "name at least one"),
        ("[jwt, at_jwt, absent]", "[]", "name at least one"),
        ("    leeway: 30s", "    leeway: 1h", "at most `5m`"),
        ("      subject: sub", "      subject: a..b", "is not the path of a claim"),
        (ROLES, "      # none", "`claims.roles` does not say where"),
        ("      groups: groups", "      # none", "`claims.groups` does not say where"),
        ("logs-reader: [\"read:logs-*\"]", "logs-reader: []", "what is not listed gives nothing"),
        ("{ci: client}", "{ci: user}", "`client` or `agent`"),
        ("{requests_per_second: 100, burst: 200}", "{requests_per_second: 100, burst: 0}", "lets nothing through"),
    ];
    for (old, new, expected) in cases {
        let error = with(old, new).expect_err(new);
        assert!(error.contains(expected), "{new}: {error}");
    }
}

#[test]
fn a_client_with_a_certificate_needs_no_secret_but_authorities() {
    let config = parse(EXAMPLE).unwrap();
    let client = config.clients.iter().find(|client| client.id == "beats").unwrap();
    assert!(client.secret.is_none() && client.secret_hash.is_none() && client.certificate.is_some());
    let (before, rest) = EXAMPLE.split_once("  client_certificates:").unwrap();
    let (_, after) = rest.split_once("\n\n").unwrap();
    let error = parse(&format!("{before}\n{after}")).unwrap_err();
    assert!(error.contains("clients `beats`: certificate: no certificates are asked for"), "{error}");
}

#[test]
fn a_client_is_in_its_namespace_and_in_all_around_it() {
    let config = parse(EXAMPLE).unwrap();
    let within = |id: &str| {
        let client = config.clients.iter().find(|client| client.id == id).unwrap();
        client.within.iter().map(|namespace| namespace.name.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(within("log-agent"), ["acme", "customers"]);
    assert_eq!(within("shipper"), [""; 0]);
    let deep: String = (0..9).map(|n| format!("  - {{name: n{n}, parent: n{}}}\n", n + 1)).collect();
    let error = with("  - name: customers", &format!("{deep}  - name: n9\n  - name: customers")).unwrap_err();
    assert!(error.contains("namespaces `n0`: parent: more than 8") && !error.contains("`n2`: parent"), "{error}");
}
