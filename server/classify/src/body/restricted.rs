//! What in a search shows documents or fields that a restriction hides.
//!
//! The engine puts a row filter beside the query, as one more condition. Whatever does not go by the query goes past it:
//! suggestions come from the terms of the index, some aggregations collect documents of their own, joins reach from a
//! document to others, statistics count all. Each was tried on 3.4.0 and shows what it should not. Aggregations are
//! known one by one; one that is not known is taken for one that does not go by the query.
//!
//! Fields that are hidden are hidden from queries, sorting and aggregations, but 2.19.4 shows their values to scripts.

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
const PAST_ROWS: [&str; 3] = ["has_child", "has_parent", "term_statistics"];

/// What a restriction hides.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hidden {
    /// Documents, by a row filter.
    pub rows: bool,
    /// Fields, by a field set.
    pub fields: bool,
}

impl Hidden {
    /// Whether it hides anything.
    #[must_use]
    pub const fn anything(self) -> bool {
        self.rows || self.fields
    }
}

/// The first part of a body that a restriction does not hold for, as a sentence names it.
///
/// # Errors
/// When the body is not strict JSON.
pub fn past_restriction(body: &[u8], hidden: Hidden) -> Result<Option<String>, BodyError> {
    let mut search = Search { hidden, found: None };
    if !body.trim_ascii().is_empty() {
        let mut reader = Reader::new(body)?;
        search.top(&mut reader)?;
        reader.end()?;
    }
    Ok(search.found)
}

struct Search {
    hidden: Hidden,
    found: Option<String>,
}

impl Search {
    fn top(&mut self, reader: &mut Reader<'_>) -> Result<(), BodyError> {
        reader.object(&mut |reader, key| match key {
            "suggest" if self.hidden.rows => self.past(reader, "`suggest`"),
            "derived" if self.hidden.fields => self.past(reader, "`derived`"),
            "aggs" | "aggregations" => self.aggregations(reader),
            _ => self.member(reader, key),
        })
    }

    /// `{"name": {"type": {...}, "aggs": {...}}}`
    fn aggregations(&mut self, reader: &mut Reader<'_>) -> Result<(), BodyError> {
        reader.object(&mut |reader, _name| {
            reader.object(&mut |reader, key| match key {
                "aggs" | "aggregations" => self.aggregations(reader),
                "meta" => reader.skip(),
                kind if !self.hidden.rows || BY_QUERY.binary_search(&kind).is_ok() => self.member(reader, kind),
                kind => self.past(reader, &format!("the aggregation `{}`", kind.escape_default())),
            })
        })
    }

    fn member(&mut self, reader: &mut Reader<'_>, key: &str) -> Result<(), BodyError> {
        let is_past = (self.hidden.rows && PAST_ROWS.contains(&key)) || (self.hidden.fields && is_script(key));
        if is_past { self.past(reader, &format!("`{}`", key.escape_default())) } else { self.value(reader) }
    }

    fn value(&mut self, reader: &mut Reader<'_>) -> Result<(), BodyError> {
        match reader.kind()? {
            Kind::Object => reader.object(&mut |reader, key| self.member(reader, key)),
            Kind::Array => reader.array(&mut |reader| self.value(reader)),
            _ => reader.skip(),
        }
    }

    fn past(&mut self, reader: &mut Reader<'_>, what: &str) -> Result<(), BodyError> {
        self.found.get_or_insert_with(|| what.chars().take(80).collect());
        reader.skip()
    }
}

/// Whether a member holds a script, or several.
fn is_script(key: &str) -> bool {
    matches!(key, "script" | "script_fields" | "script_score" | "scripted_metric" | "script_heuristic")
        || key.ends_with("_script")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: Hidden = Hidden { rows: true, fields: false };
    const FIELDS: Hidden = Hidden { rows: false, fields: true };

    fn found(body: &str) -> Option<String> {
        past_restriction(body.as_bytes(), ROWS).unwrap()
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
    fn scripts_see_hidden_fields() {
        let found = |body: &str| past_restriction(body.as_bytes(), FIELDS).unwrap();
        for (body, expected) in [
            (r#"{"query": {"script": {"script": "1"}}}"#, "`script`"),
            (r#"{"script_fields": {"a": {"script": "1"}}}"#, "`script_fields`"),
            (r#"{"sort": [{"_script": {"type": "number"}}]}"#, "`_script`"),
            (r#"{"aggs": {"x": {"scripted_metric": {"map_script": "1"}}}}"#, "`scripted_metric`"),
            (r#"{"aggs": {"x": {"bucket_script": {}}}}"#, "`bucket_script`"),
            (r#"{"aggs": {"x": {"terms": {"script": "1"}}}}"#, "`script`"),
            (
                r#"{"query": {"terms_set": {"a": {"minimum_should_match_script": {}}}}}"#,
                "`minimum_should_match_script`",
            ),
            (r#"{"derived": {"d": {"type": "keyword"}}}"#, "`derived`"),
        ] {
            assert_eq!(found(body).as_deref(), Some(expected), "{body}");
        }
        for body in [
            r#"{"query": {"match": {"description": "script"}}, "suggest": {"s": {"text": "x"}}}"#,
            r#"{"aggs": {"x": {"global": {}, "aggs": {"y": {"terms": {"field": "a"}}}}}}"#,
        ] {
            assert_eq!(found(body), None, "{body}");
        }
    }

    #[test]
    fn a_body_that_cannot_be_read_is_an_error() {
        for body in ["[]", "{", r#"{"aggs": []}"#, r#"{"aggs": {"x": 1}}"#, r#"{"a": 1, "a": 2}"#, "{} {}", "{/* */}"] {
            assert!(past_restriction(body.as_bytes(), ROWS).is_err(), "{body}");
        }
    }
}
