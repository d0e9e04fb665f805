//! What in a search shows documents that a row filter hides.
//!
//! The engine puts a row filter beside the query, as one more condition. Whatever does not go by the query goes past it:
//! suggestions come from the terms of the index, some aggregations collect documents of their own, joins reach from a
//! document to others, statistics count all. Each was tried on 3.4.0 and shows what it should not. Aggregations are
//! known one by one; one that is not known is taken for one that does not go by the query.

use crate::error::BodyError;
use crate::json::{Kind, Reader};

/// Aggregations over the documents the query finds, and over the results of others.
const BY_QUERY: [&str; 64] = [
    "adjacency_matrix",
    "auto_date_histogram",
    "avg",
    "avg_bucket",
    "boxplot",
    "bucket_count_ks_test",
    "bucket_script",
    "bucket_selector",
    "bucket_sort",
    "cardinality",
    "composite",
    "cumulative_cardinality",
    "cumulative_sum",
    "date_histogram",
    "date_range",
    "derivative",
    "diversified_sampler",
    "extended_stats",
    "extended_stats_bucket",
    "filter",
    "filters",
    "geo_bounds",
    "geo_centroid",
    "geo_distance",
    "geohash_grid",
    "geohex_grid",
    "geotile_grid",
    "histogram",
    "ip_range",
    "matrix_stats",
    "max",
    "max_bucket",
    "median_absolute_deviation",
    "min",
    "min_bucket",
    "missing",
    "moving_avg",
    "moving_fn",
    "multi_terms",
    "nested",
    "normalize",
    "percentile_ranks",
    "percentiles",
    "percentiles_bucket",
    "range",
    "rare_terms",
    "rate",
    "reverse_nested",
    "sampler",
    "scripted_metric",
    "serial_diff",
    "stats",
    "stats_bucket",
    "string_stats",
    "sum",
    "sum_bucket",
    "t_test",
    "terms",
    "top_hits",
    "top_metrics",
    "unsigned_long_terms",
    "value_count",
    "variable_width_histogram",
    "weighted_avg",
];

/// Members that go past a row filter wherever they stand.
const PAST_ANYWHERE: [&str; 3] = ["has_child", "has_parent", "term_statistics"];

/// The first part of a body that a row filter does not hold for, as a sentence names it.
///
/// # Errors
/// When the body is not strict JSON.
pub fn past_row_filter(body: &[u8]) -> Result<Option<String>, BodyError> {
    let mut found = None;
    if body.trim_ascii().is_empty() {
        return Ok(found);
    }
    let mut reader = Reader::new(body)?;
    search(&mut reader, &mut found)?;
    reader.end()?;
    Ok(found)
}

fn search(reader: &mut Reader<'_>, found: &mut Option<String>) -> Result<(), BodyError> {
    reader.object(&mut |reader, key| match key {
        "suggest" => past(reader, "`suggest`", found),
        "aggs" | "aggregations" => aggregations(reader, found),
        _ => member(reader, key, found),
    })
}

/// `{"name": {"type": {...}, "aggs": {...}}}`
fn aggregations(reader: &mut Reader<'_>, found: &mut Option<String>) -> Result<(), BodyError> {
    reader.object(&mut |reader, _name| {
        reader.object(&mut |reader, key| match key {
            "aggs" | "aggregations" => aggregations(reader, found),
            "meta" => reader.skip(),
            kind if BY_QUERY.binary_search(&kind).is_ok() => value(reader, found),
            kind => past(reader, &format!("the aggregation `{}`", kind.escape_default()), found),
        })
    })
}

fn member(reader: &mut Reader<'_>, key: &str, found: &mut Option<String>) -> Result<(), BodyError> {
    if PAST_ANYWHERE.contains(&key) { past(reader, &format!("`{key}`"), found) } else { value(reader, found) }
}

fn value(reader: &mut Reader<'_>, found: &mut Option<String>) -> Result<(), BodyError> {
    match reader.kind()? {
        Kind::Object => reader.object(&mut |reader, key| member(reader, key, found)),
        Kind::Array => reader.array(&mut |reader| value(reader, found)),
        _ => reader.skip(),
    }
}

fn past(reader: &mut Reader<'_>, what: &str, found: &mut Option<String>) -> Result<(), BodyError> {
    found.get_or_insert_with(|| what.chars().take(80).collect());
    reader.skip()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(body: &str) -> Option<String> {
        past_row_filter(body.as_bytes()).unwrap()
    }

    #[test]
    fn what_goes_by_the_query_is_let_through() {
        assert!(BY_QUERY.is_sorted());
        for body in [
            "",
            " ",
            "{}",
            r#"{"query": {"match": {"suggest": "global"}}, "_source": ["suggest"], "sort": ["aggs"]}"#,
            r#"{"query": {"term": {"aggs": {"value": "global"}}}, "post_filter": {"exists": {"field": "has_child"}}}"#,
            r#"{"aggs": {"global": {"terms": {"field": "global"}, "aggs": {"suggest": {"top_hits": {"size": 1}}}}}}"#,
            r#"{"aggregations": {"a": {"filter": {"term": {"a": 1}}, "meta": {"global": {}}, "aggregations": {"b": {"max": {"field": "x"}}}}}}"#,
            r#"{"collapse": {"field": "a", "inner_hits": {"name": "b"}}, "suggestion": 1}"#,
        ] {
            assert_eq!(found(body), None, "{body}");
        }
    }

    #[test]
    fn what_does_not_is_named() {
        for (body, expected) in [
            (r#"{"suggest": {"s": {"text": "x", "term": {"field": "note"}}}}"#, "`suggest`"),
            (r#"{"sugg\u0065st": {}}"#, "`suggest`"),
            (r#"{"aggs": {"x": {"global": {}}}}"#, "the aggregation `global`"),
            (
                r#"{"aggregations": {"x": {"aggs": {"y": {"children": {"type": "l"}}}, "terms": {"field": "a"}}}}"#,
                "the aggregation `children`",
            ),
            (r#"{"aggs": {"x": {"significant_terms": {"field": "a"}}}}"#, "the aggregation `significant_terms`"),
            (r#"{"aggs": {"x": {"of_tomorrow": {}}}}"#, "the aggregation `of_tomorrow`"),
            (r#"{"aggs": {"x": {"filter": {"has_child": {"type": "l"}}}}}"#, "`has_child`"),
            (r#"{"query": {"bool": {"must_not": [{"has_parent": {}}]}}}"#, "`has_parent`"),
            (r#"{"docs": [{"term_statistics": true}]}"#, "`term_statistics`"),
            (r#"{"requests": [{"request": {"query": {"has_child": {}}}}]}"#, "`has_child`"),
        ] {
            assert_eq!(found(body).as_deref(), Some(expected), "{body}");
        }
    }

    #[test]
    fn a_body_that_cannot_be_read_is_an_error() {
        for body in ["[]", "{", r#"{"aggs": []}"#, r#"{"aggs": {"x": 1}}"#, r#"{"a": 1, "a": 2}"#, "{} {}", "{/* */}"] {
            assert!(past_row_filter(body.as_bytes()).is_err(), "{body}");
        }
    }
}
