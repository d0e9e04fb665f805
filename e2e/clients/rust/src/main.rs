//! The scenario of `e2e/clients/README.md` with the official Rust client. It does not compress requests, and its bulk
//! helper is a request with lines.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;

use opensearch::auth::Credentials;
use opensearch::cert::{Certificate, CertificateValidation};
use opensearch::http::Url;
use opensearch::http::request::JsonBody;
use opensearch::http::response::Response;
use opensearch::http::transport::{SingleNodeConnectionPool, TransportBuilder};
use opensearch::params::Refresh;
use opensearch::{
    BulkParts, ClearScrollParts, CountParts, CreatePitParts, GetParts, MgetParts, MsearchParts, OpenSearch,
    ScrollParts, SearchParts,
};
use serde_json::{Value, json};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

fn setting(name: &str) -> String {
    std::env::var(format!("E2E_{name}")).unwrap_or_else(|_| panic!("E2E_{name} is not set"))
}

async fn fetch_token(ca: &[u8]) -> Result<String> {
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([reqwest::Certificate::from_pem(ca)?]).build()?;
    let answer = client
        .post(format!("{}/oauth/token", setting("URL")))
        .basic_auth(setting("CLIENT"), Some(setting("SECRET")))
        .form(&[("grant_type", "client_credentials")])
        .send()
        .await?
        .error_for_status()?;
    Ok(answer.json::<Value>().await?["access_token"].as_str().ok_or("no token")?.to_owned())
}

fn connect(ca: &[u8], token: String) -> Result<OpenSearch> {
    let pool = SingleNodeConnectionPool::new(Url::parse(&setting("URL"))?);
    let transport = TransportBuilder::new(pool)
        .cert_validation(CertificateValidation::Full(Certificate::from_pem(ca)?))
        .auth(Credentials::Bearer(token))
        .disable_proxy()
        .build()?;
    Ok(OpenSearch::new(transport))
}

/// What the client's exception of an answer says that must be a refusal.
async fn raised(answer: Response) -> Result<Value> {
    let status = answer.status_code().as_u16();
    let retry_after = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()).map(str::to_owned);
    // A document that is not there is no exception.
    let text = if status == 404 && answer.content_length() < Some(200) {
        answer.text().await?
    } else {
        let exception = answer.exception().await?.ok_or("nothing was raised")?;
        format!("{}: {}", exception.error().ty().unwrap_or_default(), exception.error().reason().unwrap_or_default())
    };
    Ok(json!({"status": status, "text": text, "retry_after": retry_after}))
}

async fn body(answer: Response) -> Result<Value> {
    Ok(answer.error_for_status_code()?.json().await?)
}

fn hits(answer: &Value) -> Vec<Value> {
    answer["hits"]["hits"].as_array().cloned().unwrap_or_default()
}

async fn bulk(client: &OpenSearch, lines: &[Value]) -> Result<Response> {
    let lines: Vec<JsonBody<Value>> = lines.iter().cloned().map(JsonBody::new).collect();
    Ok(client.bulk(BulkParts::None).refresh(Refresh::True).body(lines).send().await?)
}

async fn search(client: &OpenSearch, index: &str) -> Result<Response> {
    Ok(client.search(SearchParts::Index(&[index])).body(json!({"query": {"match_all": {}}})).send().await?)
}

async fn scenario(client: &OpenSearch) -> Result<BTreeMap<&'static str, Value>> {
    let (index, read, outside) = (setting("INDEX"), setting("READ"), setting("OUTSIDE"));
    let mut found = BTreeMap::new();
    found.insert("version", body(client.info().send().await?).await?["version"]["number"].clone());

    let (mut written, mut failed) = (0, 0);
    let numbers: Vec<usize> = (0..setting("DOCUMENTS").parse()?).collect();
    for numbers in numbers.chunks(500) {
        let lines: Vec<Value> = numbers
            .iter()
            .flat_map(|number| {
                let action = json!({"index": {"_index": index, "_id": number.to_string()}});
                [action, json!({"message": format!("line {number} äöü"), "number": number})]
            })
            .collect();
        let answer = body(bulk(client, &lines).await?).await?;
        for item in answer["items"].as_array().ok_or("no items")? {
            *if item["index"]["error"].is_null() { &mut written } else { &mut failed } += 1;
        }
    }
    found.insert("written", json!(written));
    found.insert("failed", json!(failed));

    let query = json!({
        "query": {"term": {"level": "ERROR"}},
        "aggs": {"services": {"terms": {"field": "service", "size": 100}}},
        "track_total_hits": true,
    });
    let answer = body(client.search(SearchParts::Index(&[&read])).body(query).send().await?).await?;
    found.insert("errors", answer["hits"]["total"]["value"].clone());
    let buckets = answer["aggregations"]["services"]["buckets"].as_array().ok_or("no buckets")?;
    let services = buckets.iter().filter_map(|one| Some((one["key"].as_str()?.to_owned(), one["doc_count"].clone())));
    found.insert("services", Value::Object(services.collect()));

    found.insert("scrolled", json!(scroll(client, &read).await?));
    found.insert("paged", json!(page(client, &index).await?));

    let whole = json!({"size": 0, "track_total_hits": true});
    let searches = [json!({"index": index}), whole.clone(), json!({"index": read}), whole];
    let lines: Vec<JsonBody<Value>> = searches.into_iter().map(JsonBody::new).collect();
    let answer = body(client.msearch(MsearchParts::None).body(lines).send().await?).await?;
    let responses = answer["responses"].as_array().ok_or("no responses")?;
    found.insert("msearch", responses.iter().map(|one| one["hits"]["total"]["value"].clone()).collect());
    let ids = json!({"ids": ["0", "17", "none"]});
    let answer = body(client.mget(MgetParts::Index(&index)).body(ids).send().await?).await?;
    let docs = answer["docs"].as_array().ok_or("no documents")?;
    found.insert("mget", docs.iter().map(|one| one["found"].clone()).collect());

    found.insert("missing", raised(client.get(GetParts::IndexId(&index, "none")).send().await?).await?);
    found.insert("no_index", raised(search(client, &format!("{index}-none")).await?).await?);
    found.insert("outside", raised(search(client, &outside).await?).await?);
    let mixed = [
        json!({"index": {"_index": index, "_id": "partly"}}),
        json!({}),
        json!({"index": {"_index": outside, "_id": "partly"}}),
        json!({}),
    ];
    found.insert("partly", raised(bulk(client, &mixed).await?).await?);
    Ok(found)
}

async fn scroll(client: &OpenSearch, read: &str) -> Result<usize> {
    let mut seen = BTreeSet::new();
    let parts = SearchParts::Index(&[read]);
    let mut answer = body(client.search(parts).scroll("1m").size(500).send().await?).await?;
    loop {
        let hits = hits(&answer);
        let id = answer["_scroll_id"].as_str().ok_or("no scroll id")?.to_owned();
        if hits.is_empty() {
            client.clear_scroll(ClearScrollParts::None).body(json!({"scroll_id": [id]})).send().await?;
            return Ok(seen.len());
        }
        seen.extend(hits.iter().map(|hit| format!("{} {}", hit["_index"], hit["_id"])));
        let next = json!({"scroll": "1m", "scroll_id": id});
        answer = body(client.scroll(ScrollParts::None).body(next).send().await?).await?;
    }
}

async fn page(client: &OpenSearch, index: &str) -> Result<usize> {
    let mut seen = BTreeSet::new();
    let created = client.create_pit(CreatePitParts::Index(&[index])).keep_alive("1m").send().await?;
    let point = body(created).await?["pit_id"].clone();
    let mut query = json!({"size": 400, "pit": {"id": point}, "sort": [{"number": "asc"}]});
    loop {
        let hits = hits(&body(client.search(SearchParts::None).body(&query).send().await?).await?);
        let Some(last) = hits.last() else { break };
        query["search_after"] = last["sort"].clone();
        seen.extend(hits.iter().map(|hit| hit["_id"].to_string()));
    }
    client.delete_pit().body(json!({"pit_id": [point]})).send().await?;
    Ok(seen.len())
}

async fn until_limited(client: &OpenSearch) -> Result<Value> {
    for _ in 0..20 {
        let answer = client.info().send().await?;
        if !answer.status_code().is_success() {
            return raised(answer).await;
        }
    }
    Err("the limit was never reached".into())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let ca = std::fs::read(setting("CA"))?;
    let client = connect(&ca, fetch_token(&ca).await?)?;
    let mut found = scenario(&client).await?;
    found.insert("invalid", raised(search(&connect(&ca, setting("INVALID"))?, &setting("READ")).await?).await?);
    found.insert("limited", until_limited(&connect(&ca, setting("LIMITED"))?).await?);
    let counted = client.count(CountParts::Index(&[&setting("INDEX")])).send().await?;
    found.insert("count", body(counted).await?["count"].clone());
    print!("{}", json!(found));
    Ok(())
}
