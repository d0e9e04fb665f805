// The scenario of `e2e/clients/README.md` with the official JavaScript client.

import { readFileSync } from "node:fs";
import { request } from "node:https";
import { Client } from "@opensearch-project/opensearch";

const setting = (name) => process.env[`E2E_${name}`];
const ca = readFileSync(setting("CA"));
const [index, read] = [setting("INDEX"), setting("READ")];
const count = Number(setting("DOCUMENTS"));

function fetchToken() {
  const options = {
    method: "POST",
    ca,
    auth: `${setting("CLIENT")}:${setting("SECRET")}`,
    headers: { "content-type": "application/x-www-form-urlencoded" },
  };
  return new Promise((resolve, reject) => {
    const sent = request(`${setting("URL")}/oauth/token`, options, async (answer) => {
      let text = "";
      for await (const piece of answer) text += piece;
      if (answer.statusCode === 200) resolve(JSON.parse(text).access_token);
      else reject(new Error(`no token: ${answer.statusCode} ${text}`));
    });
    sent.on("error", reject);
    sent.end("grant_type=client_credentials");
  });
}

const connect = (token, options = {}) =>
  new Client({
    node: setting("URL"),
    ssl: { ca },
    headers: { authorization: `Bearer ${token}` },
    compression: "gzip",
    ...options,
  });

async function raised(call) {
  let answer;
  try {
    answer = await call();
  } catch (error) {
    if (error.statusCode === undefined) throw error;
    return { status: error.statusCode, text: error.message, retry_after: error.meta?.headers?.["retry-after"] };
  }
  throw new Error(`nothing was raised: ${JSON.stringify(answer).slice(0, 300)}`);
}

async function scenario(client) {
  const found = { version: (await client.info()).body.version.number };

  const documents = Array.from({ length: count }, (_, number) => ({ message: `line ${number} äöü`, number }));
  const written = await client.helpers.bulk({
    datasource: documents,
    onDocument: (document) => ({ index: { _index: index, _id: String(document.number) } }),
    flushBytes: 50_000,
    refreshOnCompletion: false,
    refresh: true,
  });
  found.written = written.successful;
  found.failed = written.failed;

  const answer = await client.search({
    index: read,
    body: {
      query: { term: { level: "ERROR" } },
      aggs: { services: { terms: { field: "service", size: 100 } } },
      track_total_hits: true,
    },
  });
  found.errors = answer.body.hits.total.value;
  const buckets = answer.body.aggregations.services.buckets;
  found.services = Object.fromEntries(buckets.map((bucket) => [bucket.key, bucket.doc_count]));

  const scrolled = new Set();
  const pages = client.helpers.scrollSearch({ index: read, scroll: "1m", size: 500, body: { query: { match_all: {} } } });
  for await (const page of pages) {
    for (const hit of page.body.hits.hits) scrolled.add(`${hit._index} ${hit._id}`);
  }
  found.scrolled = scrolled.size;

  const pit = (await client.createPit({ index, keep_alive: "1m" })).body.pit_id;
  const paged = new Set();
  for (let after; ; ) {
    const body = { size: 400, pit: { id: pit }, sort: [{ number: "asc" }], search_after: after };
    const hits = (await client.search({ body })).body.hits.hits;
    if (hits.length === 0) break;
    for (const hit of hits) paged.add(hit._id);
    after = hits.at(-1).sort;
  }
  await client.deletePit({ body: { pit_id: [pit] } });
  found.paged = paged.size;

  const whole = { size: 0, track_total_hits: true };
  const answers = await client.msearch({ body: [{ index }, whole, { index: read }, whole] });
  found.msearch = answers.body.responses.map((one) => one.hits.total.value);
  const many = await client.mget({ index, body: { ids: ["0", "17", "none"] } });
  found.mget = many.body.docs.map((document) => document.found);

  const all = { query: { match_all: {} } };
  found.missing = await raised(() => client.get({ index, id: "none" }));
  found.no_index = await raised(() => client.search({ index: `${index}-none`, body: all }));
  found.outside = await raised(() => client.search({ index: setting("OUTSIDE"), body: all }));
  found.partly = await raised(() =>
    client.helpers.bulk({
      datasource: [{ _index: index, _id: "inside" }, { _index: setting("OUTSIDE"), _id: "outside" }],
      onDocument: ({ _index, _id }) => [{ index: { _index, _id } }, {}],
    }),
  );
  return found;
}

async function untilLimited(client) {
  for (let number = 0; number < 20; number++) {
    try {
      await client.info();
    } catch (error) {
      return raised(() => Promise.reject(error));
    }
  }
  throw new Error("the limit was never reached");
}

let found;
if (setting("SNIFF")) {
  const client = connect(await fetchToken(), { sniffOnStart: true, sniffOnConnectionFault: true });
  const sniffed = await new Promise((resolve) => client.on("sniff", (error, result) => resolve({ error, result })));
  found = { sniffed: { status: sniffed.error?.statusCode, text: sniffed.error?.message } };
  // It goes on with the address it was given.
  found.after = (await client.info()).body.version.number;
  found.nodes = client.connectionPool.connections.map((connection) => connection.url.href);
  await client.close();
} else {
  const client = connect(await fetchToken());
  found = await scenario(client);
  const expired = connect(setting("INVALID"));
  found.invalid = await raised(() => expired.search({ index: read, body: { query: { match_all: {} } } }));
  const limited = connect(setting("LIMITED"));
  found.limited = await untilLimited(limited);
  found.count = (await client.count({ index })).body.count;
  await Promise.all([client.close(), expired.close(), limited.close()]);
}
process.stdout.write(JSON.stringify(found));
