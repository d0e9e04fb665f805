"""Says which signature each request should have had, as the service would find out: from what arrived, and the keys."""

import base64
import hashlib
import json
import os
from urllib.parse import parse_qsl

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials


def expected(request):
    headers = {name.lower(): value for name, value in request["headers"]}
    body = base64.urlsafe_b64decode(request["body"] + "==")
    signed = headers["authorization"].split("SignedHeaders=")[1].split(",")[0].split(";")
    path, _, query = request["target"].partition("?")
    keys = request["keys"]
    headers["x-amz-content-sha256"] = hashlib.sha256(body).hexdigest()
    if keys.get("token") is not None:
        headers["x-amz-security-token"] = keys["token"]
    again = AWSRequest(
        method=request["method"],
        url="https://" + headers["host"] + path,
        # As it is read behind a form: `+` is a space.
        params=parse_qsl(query, keep_blank_values=True),
        data=body,
        headers={name: headers[name] for name in signed},
    )
    again.context["timestamp"] = headers["x-amz-date"]
    auth = SigV4Auth(Credentials(keys["id"], keys["secret"], keys.get("token")), request["service"], request["region"])
    canonical = auth.canonical_request(again)
    signature = auth.signature(auth.string_to_sign(again, canonical), again)
    return (
        f"AWS4-HMAC-SHA256 Credential={auth.scope(again)}, "
        f"SignedHeaders={auth.signed_headers(auth.headers_to_sign(again))}, Signature={signature}"
    )


with open(os.environ["E2E_REQUESTS"], encoding="utf-8") as file:
    print(json.dumps([expected(request) for request in json.load(file)]))
