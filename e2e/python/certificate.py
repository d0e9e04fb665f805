"""A job with a TLS certificate and nothing else: `client_cert` and `client_key` of the client."""

import sys

from gateway import CONNECTIONS, client, raised, report, setting
from opensearchpy import AuthorizationException, helpers

connection = CONNECTIONS[sys.argv[1]]
opensearch = client(
    None, client_cert=setting("CERTIFICATE"), client_key=setting("KEY"), connection_class=connection
)

scanned = sum(1 for _ in helpers.scan(opensearch, index="logs-app-*", size=1_000))
report(
    count=opensearch.count(index="logs-*")["count"],
    scanned=scanned,
    outside=raised(AuthorizationException, lambda: opensearch.search(index="pii-customers")),
    writing=raised(AuthorizationException, lambda: opensearch.index(index="logs-web-1", body={"a": 1})),
)
