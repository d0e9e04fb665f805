"""What a shipper does: a token for `write:app-logs-*`, and an index that is not there yet."""

from gateway import client, raised, report, setting
from opensearchpy import AuthorizationException, helpers

COUNT = 3_000
index = setting("INDEX")
opensearch = client(setting("TOKEN"))


def documents(count):
    for number in range(count):
        yield {"_index": index, "_id": str(number), "message": f"line {number} äöü", "number": number}


written, failed = helpers.bulk(opensearch, documents(COUNT), chunk_size=500)
assert (written, failed) == (COUNT, []), failed

# Created only, with an id of the engine's making; several requests at once.
created = [
    ok
    for ok, _ in helpers.parallel_bulk(
        opensearch,
        ({"_op_type": "create", "_index": index, "message": "created"} for _ in range(400)),
        thread_count=4,
        chunk_size=50,
    )
]
assert created == [True] * 400

# An item the engine refuses is told as such, and the others are written.
taken, refused = helpers.bulk(
    opensearch,
    [
        {"_op_type": "create", "_index": index, "_id": "0", "message": "there already"},
        {"_op_type": "update", "_index": index, "_id": "1", "doc": {"message": "changed"}},
        {"_op_type": "delete", "_index": index, "_id": "2"},
    ],
    raise_on_error=False,
)
assert taken == 2 and refused[0]["create"]["status"] == 409, refused

opensearch.index(index=index, id="a/b", body={"message": "an id with a slash"})
opensearch.update(index=index, id="a/b", body={"doc": {"message": "changed"}})
opensearch.delete(index=index, id="3")

outside = raised(
    AuthorizationException,
    lambda: helpers.bulk(
        opensearch,
        [
            {"_index": index, "_id": "inside", "message": "must not be written"},
            {"_index": "pii-customers", "_id": "outside", "message": "must not be written"},
        ],
    ),
)
reading = raised(AuthorizationException, lambda: opensearch.search(index=index))
report(left=COUNT + 400 - 2 + 1, outside=outside, reading=reading)
