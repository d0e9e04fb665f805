"""The scenario of `e2e/clients/README.md` with opensearch-py's asynchronous client."""

import asyncio
import base64
import json
import os
import ssl
import sys

import aiohttp
from opensearchpy import AsyncOpenSearch, TransportError
from opensearchpy.helpers import async_bulk, async_scan

MATCH_ALL = {"query": {"match_all": {}}}


def setting(name):
    return os.environ["E2E_" + name]


async def fetch_token():
    credential = base64.b64encode(f"{setting('CLIENT')}:{setting('SECRET')}".encode()).decode()
    context = ssl.create_default_context(cafile=setting("CA"))
    async with aiohttp.ClientSession() as session:
        answer = await session.post(
            setting("URL") + "/oauth/token",
            data={"grant_type": "client_credentials"},
            headers={"Authorization": "Basic " + credential},
            ssl=context,
        )
        answer.raise_for_status()
        return (await answer.json())["access_token"]


def connect(token, **options):
    return AsyncOpenSearch(
        hosts=[setting("URL")],
        ca_certs=setting("CA"),
        headers={"Authorization": "Bearer " + token},
        http_compress=True,
        **options,
    )


async def raised(call):
    try:
        answer = await call
    except TransportError as error:
        return {"status": error.status_code, "text": str(error)}
    raise AssertionError(f"nothing was raised: {str(answer)[:300]}")


async def scenario(client):
    index, read, count = setting("INDEX"), setting("READ"), int(setting("DOCUMENTS"))
    found = {"version": (await client.info())["version"]["number"]}

    documents = (
        {"_index": index, "_id": str(number), "message": f"line {number} äöü", "number": number}
        for number in range(count)
    )
    found["written"], failed = await async_bulk(client, documents, chunk_size=500, refresh="true")
    found["failed"] = len(failed)

    search = {
        "query": {"term": {"level": "ERROR"}},
        "aggs": {"services": {"terms": {"field": "service", "size": 100}}},
        "track_total_hits": True,
    }
    answer = await client.search(index=read, body=search)
    found["errors"] = answer["hits"]["total"]["value"]
    buckets = answer["aggregations"]["services"]["buckets"]
    found["services"] = {bucket["key"]: bucket["doc_count"] for bucket in buckets}

    scanned = async_scan(client, index=read, query=MATCH_ALL, size=500, scroll="1m")
    found["scrolled"] = len({(hit["_index"], hit["_id"]) async for hit in scanned})

    point = await client.create_pit(index=index, params={"keep_alive": "1m"})
    seen, after = set(), None
    while True:
        body = {"size": 400, "pit": {"id": point["pit_id"]}, "sort": [{"number": "asc"}]}
        if after is not None:
            body["search_after"] = after
        hits = (await client.search(body=body))["hits"]["hits"]
        if not hits:
            break
        seen.update(hit["_id"] for hit in hits)
        after = hits[-1]["sort"]
    await client.delete_pit(body={"pit_id": [point["pit_id"]]})
    found["paged"] = len(seen)

    whole = {"size": 0, "track_total_hits": True}
    answers = await client.msearch(body=[{"index": index}, whole, {"index": read}, whole])
    found["msearch"] = [answer["hits"]["total"]["value"] for answer in answers["responses"]]
    many = await client.mget(index=index, body={"ids": ["0", "17", "none"]})
    found["mget"] = [document["found"] for document in many["docs"]]

    found["missing"] = await raised(client.get(index=index, id="none"))
    found["no_index"] = await raised(client.search(index=index + "-none", body=MATCH_ALL))
    found["outside"] = await raised(client.search(index=setting("OUTSIDE"), body=MATCH_ALL))
    mixed = [{"_index": index, "_id": "inside"}, {"_index": setting("OUTSIDE"), "_id": "outside"}]
    found["partly"] = await raised(async_bulk(client, mixed))
    return found


async def until_limited(client):
    for _ in range(20):
        try:
            await client.info()
        except TransportError as error:
            return {"status": error.status_code, "text": str(error)}
    raise AssertionError("the limit was never reached")


async def main():
    token = await fetch_token()
    if "E2E_SNIFF" in os.environ:
        client = connect(token, sniff_on_start=True, sniff_on_connection_fail=True)
        # The client looks for nodes at its first request, and does not go on without.
        found = {"sniffed": await raised(client.info())}
        # Closing tells it once more.
        await raised(client.close())
    else:
        async with connect(token) as client:
            found = await scenario(client)
            async with connect(setting("INVALID")) as expired:
                found["invalid"] = await raised(expired.search(index=setting("READ"), body=MATCH_ALL))
            async with connect(setting("LIMITED")) as limited:
                found["limited"] = await until_limited(limited)
            found["count"] = (await client.count(index=setting("INDEX")))["count"]
    json.dump(found, sys.stdout)


asyncio.run(main())
