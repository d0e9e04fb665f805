//! The modules the packages do not bring assembled: their classes, jars and permissions. The names are those
//! of the engine's own build.

use super::Version;

/// One folder under `modules/`.
pub(super) struct Module {
    pub name: &'static str,
    /// Its class on 3.x; 2.x has the same name without `Module`.
    class: &'static str,
    /// The artifact of the module itself, in the group of the engine's modules.
    pub artifact: &'static str,
    /// Other modules it extends.
    pub extends: &'static str,
    /// `group:artifact` or `group:artifact:version` of the jars it needs; without a version the engine's own.
    pub jars: &'static [Jar],
    /// Jars it takes from the security plugin, which holds the right versions, by the start of their names.
    pub from_security: &'static [&'static str],
    /// What its code may do.
    pub policy: &'static str,
    /// It does not start on a reduced Java.
    pub needs_whole_java: bool,
}

/// A jar beside a module's own.
pub(super) enum Jar {
    /// Released with the engine: `group:artifact`.
    Engine(&'static str),
    /// With a version of its own for 3.4.0 and for 2.19.4: `group:artifact`, version, version.
    Other(&'static str, &'static str, &'static str),
}

impl Module {
    /// The class of this version.
    pub(super) fn class(&self, version: Version) -> String {
        match version {
            Version::V3_4_0 => self.class.to_owned(),
            Version::V2_19_4 => {
                self.class.strip_suffix("ModulePlugin").map_or(self.class.to_owned(), |start| format!("{start}Plugin"))
            }
        }
    }
}

impl Jar {
    /// Its coordinates.
    pub(super) fn coordinates(&self, version: Version) -> String {
        match (self, version) {
            (Self::Engine(name), _) => format!("{name}:{}:jar", version.number()),
            (Self::Other(name, current, _), Version::V3_4_0) => format!("{name}:{current}:jar"),
            (Self::Other(name, _, previous), Version::V2_19_4) => format!("{name}:{previous}:jar"),
        }
    }
}

const fn module(name: &'static str, class: &'static str, artifact: &'static str) -> Module {
    Module { name, class, artifact, extends: "", jars: &[], from_security: &[], policy: "", needs_whole_java: false }
}

/// All of them; a module that extends another stands after it.
pub(super) const MODULES: [Module; 10] = [
    Module {
        // Its Thai analyzer asks for locale data that small runtimes lack, and then the node never gets ready.
        needs_whole_java: true,
        ..module("analysis-common", "org.opensearch.analysis.common.CommonAnalysisModulePlugin", "analysis-common")
    },
    module(
        "aggs-matrix-stats",
        "org.opensearch.search.aggregations.matrix.MatrixAggregationModulePlugin",
        "aggs-matrix-stats-client",
    ),
    module("mapper-extras", "org.opensearch.index.mapper.MapperExtrasModulePlugin", "mapper-extras-client"),
    module("parent-join", "org.opensearch.join.ParentJoinModulePlugin", "parent-join-client"),
    module("percolator", "org.opensearch.percolator.PercolatorModulePlugin", "percolator-client"),
    module("rank-eval", "org.opensearch.index.rankeval.RankEvalModulePlugin", "rank-eval-client"),
    Module {
        jars: &[Jar::Other("com.github.spullara.mustache.java:compiler", "0.9.14", "0.9.14")],
        policy: "permission java.lang.RuntimePermission \"accessDeclaredMembers\";",
        ..module("lang-mustache", "org.opensearch.script.mustache.MustacheModulePlugin", "lang-mustache-client")
    },
    Module {
        jars: &[
            Jar::Engine("org.opensearch.plugin:opensearch-scripting-painless-spi"),
            Jar::Other("org.antlr:antlr4-runtime", "4.13.1", "4.13.1"),
            Jar::Other("org.ow2.asm:asm", "9.7", "9.7"),
            Jar::Other("org.ow2.asm:asm-analysis", "9.7", "9.7"),
            Jar::Other("org.ow2.asm:asm-commons", "9.7", "9.7"),
            Jar::Other("org.ow2.asm:asm-tree", "9.7", "9.7"),
            Jar::Other("org.ow2.asm:asm-util", "9.7", "9.7"),
        ],
        policy: "permission java.lang.RuntimePermission \"createClassLoader\";\n  permission java.lang.RuntimePermission \"getClassLoader\";",
        ..module("lang-painless", "org.opensearch.painless.PainlessModulePlugin", "lang-painless")
    },
    Module {
        extends: "lang-painless",
        jars: &[
            Jar::Engine("org.opensearch:opensearch-grok"),
            Jar::Engine("org.opensearch:opensearch-dissect"),
            Jar::Other("org.jruby.joni:joni", "2.2.6", "2.2.1"),
            Jar::Other("org.jruby.jcodings:jcodings", "1.0.63", "1.0.61"),
        ],
        ..module("ingest-common", "org.opensearch.ingest.common.IngestCommonModulePlugin", "ingest-common")
    },
    Module {
        jars: &[
            Jar::Engine("org.opensearch.client:opensearch-rest-client"),
            Jar::Engine("org.opensearch:opensearch-ssl-config"),
        ],
        from_security: &[
            "httpclient5-5",
            "httpcore5-5",
            "httpcore5-h2-5",
            "httpcore5-reactive-5",
            "httpclient-4",
            "httpcore-4",
            "httpasyncclient-4",
            "httpcore-nio-4",
            "commons-codec-",
            "commons-logging-",
            "slf4j-api-",
        ],
        policy: "permission java.net.SocketPermission \"*\", \"connect\";\n  permission java.net.NetPermission \"getProxySelector\";",
        ..module("reindex", "org.opensearch.index.reindex.ReindexModulePlugin", "reindex-client")
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_of_both_lines() {
        let reindex = MODULES.iter().find(|module| module.name == "reindex").unwrap();
        assert_eq!(reindex.class(Version::V3_4_0), "org.opensearch.index.reindex.ReindexModulePlugin");
        assert_eq!(reindex.class(Version::V2_19_4), "org.opensearch.index.reindex.ReindexPlugin");
    }

    #[test]
    fn every_jar_has_a_pin() {
        let parts = crate::parts::Parts::load().unwrap();
        for version in [Version::V3_4_0, Version::V2_19_4] {
            for part in super::super::assemble::artifacts(version) {
                parts.maven(&part).unwrap();
            }
        }
    }
}
