"""What people read when something is refused."""

from gateway import client, raised, report, setting
from opensearchpy import AuthenticationException, AuthorizationException, RequestError, TransportError, helpers

opensearch = client(setting("TOKEN"))
revoked = client(setting("REVOKED"))
limited = client(setting("LIMITED"))

opensearch.search(index="logs-*")
found = {
    "search": raised(AuthorizationException, lambda: opensearch.search(index="pii-customers")),
    "everything": raised(AuthorizationException, lambda: opensearch.search()),
    "scan": raised(AuthorizationException, lambda: list(helpers.scan(opensearch, index="logs-*,pii-*"))),
    "msearch": raised(
        AuthorizationException, lambda: opensearch.msearch(body=[{"index": "logs-*"}, {}, {"index": "pii-*"}, {}])
    ),
    "write": raised(AuthorizationException, lambda: opensearch.index(index="logs-web-2026.01.01", body={})),
    "delete": raised(AuthorizationException, lambda: opensearch.indices.delete(index="logs-web-*")),
    "cluster": raised(AuthorizationException, lambda: opensearch.cluster.health()),
    "unreadable": raised(RequestError, lambda: opensearch.search(index="logs-*", body='{"query": {"a": 1, "a": {"index": "b"}}}')),
    "compressed": raised(
        AuthorizationException,
        lambda: client(setting("TOKEN"), http_compress=True).mget(body={"docs": [{"_index": "pii-customers", "_id": "1"}]}),
    ),
    "dot_segment": raised(RequestError, lambda: opensearch.get(index="logs-app-2026.01.01", id="..")),
    "revoked": raised(AuthenticationException, lambda: revoked.search(index="logs-*")),
    "no_token": raised(AuthenticationException, lambda: client(None).info()),
}
for _ in range(10):
    try:
        limited.info()
    except TransportError as error:
        found["limited"] = {"kind": type(error).__name__, "status": error.status_code, "text": str(error)}
        break
report(**found)
