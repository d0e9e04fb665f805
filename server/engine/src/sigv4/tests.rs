use oauth4os_config::AwsKeys;
use secrecy::SecretString;

use super::*;

/// SHA-256 of nothing.
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn keys(id: &str, secret: &str, token: Option<&str>) -> Keys {
    Keys::of(AwsKeys {
        access_key_id: id.to_owned(),
        secret_access_key: secret.into(),
        session_token: token.map(SecretString::from),
        expiration: None,
    })
    .unwrap()
}

fn signature(fields: &str) -> String {
    fields.split("Signature=").nth(1).unwrap().split("\r\n").next().unwrap().to_owned()
}

#[test]
fn the_key_of_a_day_is_that_of_the_published_example() {
    let keys = keys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", None);
    let to_sign = "AWS4-HMAC-SHA256\n20150830T123600Z\n20150830/us-east-1/iam/aws4_request\n\
                   f536975d06c0309214f805bb90ccff089219ecd68b2577efef23edd43b7e1a59";
    for _ in 0..2 {
        let key = keys.signing_key("20150830", "us-east-1", "iam");
        assert_eq!(
            hex(hmac::sign(&key, to_sign.as_bytes()).as_ref()),
            "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
        );
    }
    let other = keys.signing_key("20150831", "us-east-1", "iam");
    assert_ne!(
        hex(hmac::sign(&other, to_sign.as_bytes()).as_ref()),
        "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
    );
}

/// The examples of the manual of S3 sign the same headers as requests do here.
#[test]
fn signatures_are_those_of_the_published_examples() {
    let keys = keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", None);
    let now = UnixTime::from_secs(1_369_353_600);
    for (target, expected) in [
        ("/?lifecycle", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        ("/?max-keys=2&prefix=J", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
        ("/?prefix=J&max-keys=2", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
    ] {
        let authority = "examplebucket.s3.amazonaws.com";
        let request = Signable { method: "GET", target, authority, payload: EMPTY };
        let made = fields(&keys, "us-east-1", "s3", &request, now).unwrap();
        assert_eq!(signature(&made), expected, "{target}");
        assert!(
            made.starts_with(&format!(
                "x-amz-date: 20130524T000000Z\r\nx-amz-content-sha256: {EMPTY}\r\nauthorization: AWS4-HMAC-SHA256 \
                 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, \
                 SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature="
            )),
            "{}",
            made
        );
    }
    assert_eq!(payload_hash(b""), EMPTY);
}

#[test]
fn everything_that_is_sent_is_part_of_the_signature() {
    let now = UnixTime::from_secs(1_369_353_600);
    let good = Signable { method: "POST", target: "/a/_doc?op_type=create", authority: "a:1", payload: EMPTY };
    let plain = keys("AKID", "secret", None);
    let sign =
        |keys: &Keys, request: Signable<'_>, now| signature(&fields(keys, "eu-west-1", "es", &request, now).unwrap());
    let expected = sign(&plain, good, now);
    let other = payload_hash(b"x");
    for changed in [
        Signable { method: "PUT", ..good },
        Signable { target: "/a/_doc?op_type=index", ..good },
        Signable { target: "/a/_doc?op_type=create&op_type=index", ..good },
        Signable { target: "/a/_doc", ..good },
        Signable { target: "/b/_doc?op_type=create", ..good },
        Signable { authority: "a:2", ..good },
        Signable { payload: &other, ..good },
    ] {
        assert_ne!(sign(&plain, changed, now), expected, "{changed:?}");
    }
    assert_ne!(sign(&plain, good, UnixTime::from_secs(1_369_353_601)), expected);
    assert_ne!(sign(&keys("AKID", "secreT", None), good, now), expected);
    assert_ne!(sign(&keys("AKID", "secret", Some("token")), good, now), expected);
    let made = fields(&keys("AKID", "secret", Some("token==")), "eu-west-1", "es", &good, now).unwrap();
    assert!(made.ends_with("\r\nx-amz-security-token: token==\r\n"));
    assert!(made.contains("SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token,"));
}

fn settings(folder: &std::path::Path) -> Sigv4 {
    let file = folder.join("keys.json");
    serde_saphyr::from_str(&format!("{{region: eu-west-1, credentials_file: '{}'}}", file.display())).unwrap()
}

#[test]
fn other_keys_are_taken_when_they_have_settled() {
    let folder = tempfile::tempdir().unwrap();
    let write = |text: &str| std::fs::write(folder.path().join("keys.json"), text).unwrap();
    let (old, new) = (
        r#"{"AccessKeyId": "OLD", "SecretAccessKey": "a", "Version": 1}"#,
        r#"{"AccessKeyId": "NEW", "SecretAccessKey": "b", "SessionToken": "t", "Expiration": "2026-01-01T00:00:00Z"}"#,
    );
    write(old);
    let signer = Signer::load(&settings(folder.path())).unwrap();
    let id = || signer.keys.load().access_key_id.clone();
    let mut look = Look::default();
    assert_eq!(signer.look(&mut look), Ok(Looked::Same));
    write(new);
    assert_eq!(signer.look(&mut look), Ok(Looked::Unsettled));
    assert_eq!(id(), "OLD");
    write(old);
    assert_eq!(signer.look(&mut look), Ok(Looked::Same));
    write(new);
    assert_eq!((signer.look(&mut look), signer.look(&mut look)), (Ok(Looked::Unsettled), Ok(Looked::Replaced)));
    assert_eq!((id().as_str(), signer.look(&mut look)), ("NEW", Ok(Looked::Same)));
    for broken in [
        "",
        "{}",
        "[]",
        r#"{"AccessKeyId": "x y", "SecretAccessKey": "SECRET"}"#,
        r#"{"AccessKeyId": 7, "SecretAccessKey": "SECRET"}"#,
    ] {
        write(broken);
        let error = signer.look(&mut look).unwrap_err().to_string();
        assert!(!error.contains("SECRET"), "{error}");
        assert_eq!(id(), "NEW");
    }
    let end = UnixTime::from_secs(1_767_225_600);
    assert!(signer.check(end - std::time::Duration::from_secs(1)).is_ok());
    assert_eq!(signer.check(end), Err(SigningError::Expired));
    let request = Signable { method: "GET", target: "/", authority: "a", payload: EMPTY };
    assert_eq!(signer.sign(&request, end).map(drop), Err(SigningError::Expired));
    let shown = format!("{signer:?}");
    assert!(!shown.contains("NEW") && !shown.contains("Secret"), "{shown}");
}

#[test]
fn keys_that_end_at_no_time_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let text = r#"{"AccessKeyId": "A", "SecretAccessKey": "b", "Expiration": "tomorrow"}"#;
    std::fs::write(folder.path().join("keys.json"), text).unwrap();
    assert!(matches!(Signer::load(&settings(folder.path())), Err(SigningError::Keys(_))));
}
