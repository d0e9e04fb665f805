"""What a shipper does that knows only user and password: `http_auth` is the client's id and secret."""

import sys

from gateway import CONNECTIONS, client, raised, report, setting
from opensearchpy import AuthenticationException, AuthorizationException, helpers

index = setting("INDEX")
credentials = (setting("CLIENT"), setting("SECRET"))
connection = CONNECTIONS[sys.argv[1]]
opensearch = client(None, http_auth=credentials, connection_class=connection)

written, failed = helpers.bulk(
    opensearch,
    ({"_op_type": "create", "_index": index, "number": number} for number in range(1_000)),
    chunk_size=100,
)
assert (written, failed) == (1_000, []), failed

stranger = client(None, http_auth=(credentials[0], "wrong" + credentials[1]), connection_class=connection)
report(
    written=written,
    outside=raised(AuthorizationException, lambda: opensearch.index(index="pii-customers", body={"a": 1})),
    reading=raised(AuthorizationException, lambda: opensearch.search(index=index)),
    wrong=raised(AuthenticationException, lambda: stranger.index(index=index, body={"a": 1})),
)
