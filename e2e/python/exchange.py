"""Authlib as a client that exchanges somebody's token, asks about what it got, and sees it end."""

import json
import os
import sys

from authlib.integrations.requests_client import OAuth2Session


def setting(name):
    """A variable the test has set."""
    return os.environ["E2E_" + name]


URL, CA = setting("URL"), setting("CA")
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"


def session(client, secret):
    """A client with its secret."""
    made = OAuth2Session(client, setting(secret), token_endpoint_auth_method="client_secret_basic")
    made.verify = CA
    return made


def status(client):
    """What a search is answered with."""
    return client.get(URL + "/logs-a/_search").status_code


def introspected(client, token):
    """What the gateway says of a token."""
    answer = client.introspect_token(URL + "/oauth/introspect", token=token, token_type_hint="access_token")
    answer.raise_for_status()
    return answer.json()


app, runner = session("app", "APP"), session("runner", "RUNNER")
subject = app.fetch_token(URL + "/oauth/token", grant_type="client_credentials")["access_token"]
exchanged = runner.fetch_token(
    URL + "/oauth/token",
    grant_type="urn:ietf:params:oauth:grant-type:token-exchange",
    subject_token=subject,
    subject_token_type=ACCESS_TOKEN,
    requested_token_type=ACCESS_TOKEN,
    scope="read:logs-*",
)
found = {
    "kind": exchanged["issued_token_type"],
    "scope": exchanged["scope"],
    "status": status(runner),
    "said": introspected(runner, exchanged["access_token"]),
    "of_others": introspected(runner, subject),
}
app.revoke_token(URL + "/oauth/revoke", token=subject, token_type_hint="access_token").raise_for_status()
found["after"] = status(runner)
found["said_after"] = introspected(runner, exchanged["access_token"])
json.dump(found, sys.stdout)
