"""Everything a reader does: a token for `read:logs-*`."""

import base64
import json
import ssl
import sys
import urllib.parse
import urllib.request

from gateway import CONNECTIONS, client, report, setting
from opensearchpy import NotFoundError, helpers

MATCH_ALL = {"query": {"match_all": {}}}


def fetch_token():
    """A token, as a program gets one that knows nothing but OAuth 2.0."""
    credential = base64.b64encode(f"{setting('CLIENT')}:{setting('SECRET')}".encode()).decode()
    request = urllib.request.Request(
        setting("URL") + "/oauth/token",
        data=urllib.parse.urlencode({"grant_type": "client_credentials"}).encode(),
        headers={"Authorization": "Basic " + credential},
    )
    context = ssl.create_default_context(cafile=setting("CA"))
    with urllib.request.urlopen(request, context=context) as answer:
        return json.load(answer)["access_token"]


class Rotating:
    """A token for each request, in the form each kind of connection takes it."""

    def __init__(self):
        self.token = fetch_token()
        self.asked = 0

    def urllib3(self, method, url, body):
        self.asked += 1
        return {"Authorization": "Bearer " + self.token}

    def requests(self, request):
        self.asked += 1
        request.headers["Authorization"] = "Bearer " + self.token
        return request


kind = sys.argv[1]
rotating = Rotating()
options = {"connection_class": CONNECTIONS[kind], "http_auth": getattr(rotating, kind), "headers": {}}
opensearch = client(None, http_compress=True, **options)

assert opensearch.ping()
info = opensearch.info()
found = opensearch.search(
    index="logs-app-*",
    body={
        "query": {"term": {"level": "ERROR"}},
        "aggs": {"services": {"terms": {"field": "service"}}},
        "size": 10,
        "track_total_hits": True,
    },
    params={"preference": "_local"},
)
count = opensearch.count(index="logs-*", body=MATCH_ALL)["count"]

scanned = list(helpers.scan(opensearch, index="logs-app-*", query=MATCH_ALL, size=500, scroll="1m"))
assert len({(hit["_index"], hit["_id"]) for hit in scanned}) == len(scanned), "a hit came twice"
assert all(hit["_index"].startswith("logs-app-") for hit in scanned)

hit = scanned[0]
document = opensearch.get(index=hit["_index"], id=hit["_id"])
assert document["_source"] == hit["_source"]
assert opensearch.exists(index=hit["_index"], id=hit["_id"])
assert opensearch.get_source(index=hit["_index"], id=hit["_id"]) == hit["_source"]
for name in ("a/b", "a//b", "a+b", "ä b", "a%2Fb", "no-such-document"):
    try:
        opensearch.get(index=hit["_index"], id=name)
        raise AssertionError(f"there is a document {name!r}")
    except NotFoundError as error:
        assert error.info["_id"] == name, error.info

many = opensearch.mget(
    body={"docs": [{"_index": other["_index"], "_id": other["_id"]} for other in scanned[:300:3]]}
)
assert [doc["_source"] for doc in many["docs"]] == [other["_source"] for other in scanned[:300:3]]
same = opensearch.mget(index=hit["_index"], body={"ids": [hit["_id"]]})
assert same["docs"][0]["found"]

searches = [{"index": "logs-web-*"}, MATCH_ALL, {"index": "logs-app-*"}, {"size": 0}, {}, {"size": 0}]
answers = opensearch.msearch(body=searches, index="logs-stream")["responses"]
assert [answer["status"] for answer in answers] == [200] * 3, answers

point = opensearch.create_pit(index="logs-web-*", params={"keep_alive": "1m"})
# What tells equal times apart: OpenSearch 2 does not sort by the place in the shard.
tie = "_id" if info["version"]["number"].startswith("2.") else "_shard_doc"
paged, after = 0, None
while True:
    body = {"size": 400, "pit": {"id": point["pit_id"]}, "sort": [{"@timestamp": "asc"}, {tie: "asc"}]}
    if after:
        body["search_after"] = after
    hits = opensearch.search(body=body)["hits"]["hits"]
    if not hits:
        break
    paged, after = paged + len(hits), hits[-1]["sort"]
opensearch.delete_pit(body={"pit_id": [point["pit_id"]]})

mapping = opensearch.indices.get_mapping(index="logs-app-*")
assert all("level" in index["mappings"]["properties"] for index in mapping.values())
assert opensearch.indices.exists(index="logs-app-*")
assert "level" in opensearch.field_caps(index="logs-*", params={"fields": "*"})["fields"]

report(
    version=info["version"]["number"],
    errors=found["hits"]["total"]["value"],
    services=len(found["aggregations"]["services"]["buckets"]),
    count=count,
    scanned=len(scanned),
    paged=paged,
    asked=rotating.asked,
)
