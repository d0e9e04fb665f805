"""What people read when nobody knows what has become of what they sent: the server behind the gateway reads it and gives no whole answer."""

import sys

from gateway import CONNECTIONS, client, raised, report, setting
from opensearchpy import TransportError, helpers

opensearch = client(setting("TOKEN"), connection_class=CONNECTIONS[sys.argv[1]])
documents = [{"_index": "app-logs-many", "number": number} for number in range(100)]

report(
    index=raised(TransportError, lambda: opensearch.index(index="app-logs-one", body={"a": 1})),
    bulk=raised(TransportError, lambda: helpers.bulk(opensearch, documents)),
    scan=raised(TransportError, lambda: list(helpers.scan(opensearch, index="logs-a"))),
)
