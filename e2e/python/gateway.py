"""What the scripts of this folder share: the client as its documentation shows it, and what the test said to them."""

import json
import os
import sys

from opensearchpy import OpenSearch, RequestsHttpConnection, Urllib3HttpConnection

CONNECTIONS = {"urllib3": Urllib3HttpConnection, "requests": RequestsHttpConnection}


def setting(name):
    """A variable the test has set."""
    return os.environ["E2E_" + name]


def client(token, **options):
    """A client that shows this token with every request."""
    options.setdefault("headers", {"Authorization": "Bearer " + token} if token else {})
    return OpenSearch(hosts=[setting("URL")], use_ssl=True, verify_certs=True, ca_certs=setting("CA"), **options)


def report(**found):
    """Tells the test what was found."""
    json.dump(found, sys.stdout)


def raised(kind, call):
    """The exception of exactly this kind that the call raises, as the test sees it."""
    try:
        answer = call()
    except Exception as error:
        if type(error) is not kind:
            raise
        return {
            "kind": type(error).__name__,
            "status": error.status_code,
            "error": error.error,
            "info": error.info,
            "text": str(error),
        }
    raise AssertionError(f"no {kind.__name__}, but {str(answer)[:300]}")
