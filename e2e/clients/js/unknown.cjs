// What people read when nobody knows what has become of what they sent: the server behind the gateway reads it and gives no
// whole answer.

const { readFileSync } = require("node:fs");
const { Client } = require("@opensearch-project/opensearch");

const setting = (name) => process.env[`E2E_${name}`];

const client = new Client({
  node: setting("URL"),
  ssl: { ca: readFileSync(setting("CA")) },
  headers: { authorization: `Bearer ${setting("TOKEN")}` },
});

async function raised(call) {
  let answer;
  try {
    answer = await call();
  } catch (error) {
    if (error.statusCode === undefined) throw error;
    return { status: error.statusCode, text: error.message };
  }
  throw new Error(`nothing was raised: ${JSON.stringify(answer).slice(0, 300)}`);
}

const bulk = () =>
  client.helpers.bulk({
    datasource: Array.from({ length: 100 }, (_, number) => ({ number })),
    onDocument: () => ({ index: { _index: "app-logs-many" } }),
  });

async function scan() {
  const pages = client.helpers.scrollSearch({ index: "logs-a", scroll: "1m", body: { query: { match_all: {} } } });
  let count = 0;
  for await (const page of pages) count += page.body.hits.hits.length;
  return count;
}

async function main() {
  const index = await raised(() => client.index({ index: "app-logs-one", body: { a: 1 } }));
  const found = { index, bulk: await raised(bulk), scan: await raised(scan) };
  await client.close();
  process.stdout.write(JSON.stringify(found));
}

main();
