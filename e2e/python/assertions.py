"""Authlib as a client that signs, with the key of a developer, and as a workload that somebody vouches for."""

import json
import os
import sys
import time

from authlib.integrations.requests_client import AssertionSession, OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from joserfc.jwk import ECKey


def setting(name):
    """A variable the test has set."""
    return os.environ["E2E_" + name]


URL, CA, ISSUER = setting("URL"), setting("CA"), setting("ISSUER")
TOKEN = URL + "/oauth/token"


def key(name):
    """A private key the test has made."""
    return ECKey.import_key(setting(name))


def hits(session):
    """What a search for all logs finds."""
    answer = session.get(URL + "/logs-*/_count")
    answer.raise_for_status()
    return answer.json()["count"]


def signing(client, private, lifetime):
    """A session of a client that signs; each assertion is for the issuer, and of its own."""
    session = OAuth2Session(client, private, token_endpoint_auth_method="private_key_jwt", scope="read:logs-*")
    claims = {"exp": int(time.time()) + lifetime} if lifetime else None
    session.register_client_auth_method(PrivateKeyJWT(ISSUER, claims=claims, alg="ES256"))
    session.verify = CA
    return session


def refusal(call):
    """The error that the call raises."""
    try:
        call()
    except Exception as error:
        return str(error)
    raise AssertionError("nothing was refused")


def fetched(client, private):
    """What a client finds with a token it has signed for."""
    session = signing(client, private, 60)
    token = session.fetch_token(TOKEN, grant_type="client_credentials")
    return {"token_type": token["token_type"], "hits": hits(session)}


def workload():
    """What a workload finds; the session asks for its token by itself."""
    session = AssertionSession(
        TOKEN,
        issuer=setting("WORKLOADS"),
        subject="repo:acme/app:ref:refs/heads/main",
        audience=ISSUER,
        grant_type=AssertionSession.JWT_BEARER_GRANT_TYPE,
        claims={"repository": "acme/app", "ref": "refs/heads/main"},
        header={"alg": "ES256", "kid": setting("WORKLOADS_KID")},
        key=key("WORKLOADS_KEY"),
        expires_in=300,
    )
    session.verify = CA
    return {"hits": hits(session), "lifetime": session.token["expires_in"]}


json.dump(
    {
        "client": fetched("job", key("CLIENT_KEY")),
        "developer": fetched("ada", key("DEVELOPER_KEY")),
        "too_long": refusal(lambda: signing("job", key("CLIENT_KEY"), 0).fetch_token(TOKEN, grant_type="client_credentials")),
        "other_key": refusal(lambda: fetched("job", key("DEVELOPER_KEY"))),
        "workload": workload(),
    },
    sys.stdout,
)
