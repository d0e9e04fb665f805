//! Clients without a secret.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;

#[test]
fn a_client_that_is_vouched_for_or_signs_needs_no_secret() {
    let config = parse(EXAMPLE).unwrap();
    let client = |id: &str| config.clients.iter().find(|client| client.id == id).unwrap();
    assert!(
        client("ci-deploy").is_vouched_for && client("shipper").is_vouched_for && !client("reporter").is_vouched_for
    );
    assert!(client("reporter").has_keys() && client("warehouse").has_keys() && !client("ci-deploy").has_keys());
    for (old, new, expected) in [
        ("        client: ci-deploy\n", "        client: shipper\n", "clients `ci-deploy`: give `secret`"),
        ("  - id: ci-deploy\n", "  - id: ci-deploy\n    basic: true\n", "`basic: true` needs `secret`"),
        (
            "  - id: reporter\n",
            "  - id: reporter\n    jwks_uri: https://a.example.com\n",
            "give `jwks` or `jwks_uri`, not both",
        ),
        ("crv: Ed25519, kid", "crv: Ed25519, d: AQAB, kid", "the private half of a key"),
        ("{kty: OKP,", "{kty: oct, k: c2VjcmV0, crv2: x,", "or a shared one"),
        (
            "    jwks_uri: https://warehouse.example.com/keys.json",
            "    jwks_uri: http://warehouse.example.com/keys.json",
            "use `https`",
        ),
        (
            "    jwks_uri: https://warehouse.example.com/keys.json",
            "    jwks_uri: https://a:b@warehouse.example.com/",
            "without user",
        ),
        ("    jwks_ca: idp-ca.pem", "    jwks_ca: missing.pem", "there is no file"),
        (
            "    jwks_uri: https://warehouse.example.com/keys.json",
            "    secret_hash: sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b",
            "is for `jwks_uri`",
        ),
    ] {
        let error = with(old, new).expect_err(new);
        assert!(error.contains(expected), "{new}: {error}");
    }
}

#[test]
fn a_rule_that_fits_anybody_is_refused() {
    const RULE: &str = "{repository: acme/app, repository_id: 74, ref: [refs/heads/main, \"refs/tags/v*\"]}";
    for claims in [
        "{repository: acme/app}",
        "{repository: 'acme/*'}",
        "{repository: ['acme/*', acme2/app]}",
        "{sub: 'repo:acme/app:ref:refs/heads/**'}",
        "{repository_owner: acme, ref: refs/heads/main}",
        "{repository_owner_id: 65}",
        "{repository_id: '74'}",
        "{repository: acme/app, environment: '*'}",
    ] {
        assert!(with(RULE, claims).is_ok(), "{claims}: {:?}", with(RULE, claims).err());
    }
    for (claims, expected) in [
        ("{}", "fits workloads of anybody"),
        ("{repository: '*'}", "fits workloads of anybody"),
        ("{repository: '*/app'}", "fits workloads of anybody"),
        ("{repository: ['acme/app', '**']}", "fits workloads of anybody"),
        ("{ref_protected: true}", "fits workloads of anybody"),
        ("{iss: 'https://token.actions.githubusercontent.com'}", "is looked at anyway"),
        ("{aud: 'https://gateway.example.com', repository: acme/app}", "is looked at anyway"),
        // At an issuer that signs for everybody.
        ("{ref: refs/heads/main}", "signs for the workloads of everybody"),
        ("{environment: production, actor: ada}", "signs for the workloads of everybody"),
        ("{repository: 'acme*'}", "signs for the workloads of everybody"),
        ("{repository_owner: 'acme*'}", "signs for the workloads of everybody"),
        ("{sub: 'repo:*'}", "signs for the workloads of everybody"),
        ("{sub: 'repo:*/app:ref:refs/heads/main'}", "signs for the workloads of everybody"),
        ("{repository: ['acme/app', 'acme*']}", "signs for the workloads of everybody"),
        ("{repository: []}", "give 1 to 100 values"),
        ("{repository: ''}", "a text has 1 to 256 bytes"),
        ("{repository: 'acme/***'}", "write `*`, or `**`"),
        ("{repository: 1.5}", "a text, a whole number"),
        ("{repository: -1}", "no id is negative"),
        ("{repository: {a: b}}", "a text, a whole number"),
        ("{'a..b': c}", "is not the path of a claim"),
    ] {
        let error = with(RULE, claims).expect_err(claims);
        assert!(error.contains(expected), "{claims}: {error}");
    }
    // An issuer of one's own has no strangers.
    assert!(
        with("{'kubernetes\\.io.namespace': ingest, sub: \"system:serviceaccount:ingest:*\"}", "{sub: 'system:*'}")
            .is_ok()
    );
}

#[test]
fn an_issuer_is_one_thing_and_holds_to_bounds() {
    const ISSUER: &str = "    issuer: https://kubernetes.example.com\n";
    for (old, new, expected) in [
        (ISSUER, "    issuer: https://idp.example.com/realms/main\n", "is in `providers` as well"),
        (ISSUER, "    issuer: https://idp.example.com/realms/main/\n", "is in `providers` as well"),
        (ISSUER, "    issuer: https://gateway.example.com\n", "is the gateway's own"),
        (ISSUER, "    issuer: https://Gateway.example.com/\n", "is the gateway's own"),
        (ISSUER, "    issuer: http://kubernetes.example.com\n", "use `https`"),
        (ISSUER, "    issuer: https://token.actions.githubusercontent.com\n", "is used twice"),
        ("  - name: cluster\n", "  - name: GitHub\n", "this name is used twice"),
        ("  - name: cluster\n", "  - name: Keycloak\n", "this name is used twice"),
        ("  - name: cluster\n", "  - name: 'a/b'\n", "a name has"),
        ("    algorithms: [RS256]\n    max", "    algorithms: [none]\n    max", "none"),
        ("    algorithms: [RS256]\n    max", "    algorithms: [HS256]\n    max", "HS256"),
        ("    algorithms: [RS256]\n    max", "    algorithms: []\n    max", "name at least one"),
        ("    max_lifetime: 15m", "    max_lifetime: 2d", "from `1s` to `24h`"),
        ("    token_lifetime: 10m", "    token_lifetime: 10s", "from `60s` to `24h`"),
        ("    audience: https://gateway.example.com   # alone", "    audience: []   # alone", "name the audience"),
        ("        client: ci-deploy", "        client: nobody", "there is no client `nobody`"),
        ("    single_use: false", "    jwks: {keys: []}\n    single_use: false", "give `jwks_uri` or `jwks`, not both"),
    ] {
        let error = with(old, new).expect_err(new);
        assert!(error.contains(expected), "{new}: {error}");
    }
}

#[test]
fn a_folder_of_public_keys_makes_clients() {
    let folder = folder();
    let developers = folder.path().join("developers");
    let load = || Config::parse(EXAMPLE, folder.path(), &env).map_err(|error| error.to_string());
    for name in ["bo.pem", "README", "old.pem.bak", ".hidden.pem"] {
        fs::write(developers.join(name), "x").unwrap();
    }
    let config = load().unwrap();
    let of_folder: Vec<_> = config.clients.iter().filter(|client| client.public_key.is_some()).collect();
    assert_eq!(of_folder.iter().map(|client| client.id.as_str()).collect::<Vec<_>>(), ["ada", "bo"]);
    assert_eq!(of_folder[0].scopes, ["read:logs-*"]);
    assert_eq!(of_folder[0].within.len(), 1);
    assert!(of_folder[0].groups.contains("developers") && of_folder[0].secret.is_none());

    // Whoever could write one could become a client.
    let refused = |expected: &str| {
        let error = load().unwrap_err();
        assert!(error.contains(expected), "{expected}: {error}");
    };
    fs::set_permissions(developers.join("bo.pem"), fs::Permissions::from_mode(0o666)).unwrap();
    refused("can be written by others");
    fs::remove_file(developers.join("bo.pem")).unwrap();
    fs::create_dir(developers.join("bo.pem")).unwrap();
    refused("is not a file");
    fs::remove_dir(developers.join("bo.pem")).unwrap();
    fs::write(developers.join("bo.pem"), "x".repeat(20_000)).unwrap();
    refused("is not a file of at most");
    fs::remove_file(developers.join("bo.pem")).unwrap();
    for (name, expected) in [
        ("log-agent.pem", "used twice"),
        ("idp.keycloak.user.ada.pem", "those of providers' principals"),
        ("a b.pem", "an id has"),
    ] {
        fs::write(developers.join(name), "x").unwrap();
        refused(expected);
        fs::remove_file(developers.join(name)).unwrap();
    }
    fs::remove_dir_all(&developers).unwrap();
    refused("cannot read");
}
