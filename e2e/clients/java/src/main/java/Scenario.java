import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.InputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;
import org.apache.hc.client5.http.impl.nio.PoolingAsyncClientConnectionManagerBuilder;
import org.apache.hc.client5.http.ssl.ClientTlsStrategyBuilder;
import org.apache.hc.core5.http.Header;
import org.apache.hc.core5.http.HttpHost;
import org.apache.hc.core5.http.message.BasicHeader;
import org.opensearch.client.opensearch.OpenSearchClient;
import org.opensearch.client.opensearch._helpers.bulk.BulkIngester;
import org.opensearch.client.opensearch._helpers.bulk.BulkListener;
import org.opensearch.client.opensearch._types.FieldValue;
import org.opensearch.client.opensearch._types.OpenSearchException;
import org.opensearch.client.opensearch._types.Refresh;
import org.opensearch.client.opensearch._types.SortOrder;
import org.opensearch.client.opensearch._types.query_dsl.Query;
import org.opensearch.client.opensearch.core.BulkRequest;
import org.opensearch.client.opensearch.core.BulkResponse;
import org.opensearch.client.opensearch.core.msearch.RequestItem;
import org.opensearch.client.opensearch.core.search.Hit;
import org.opensearch.client.opensearch.core.search.Pit;
import org.opensearch.client.transport.httpclient5.ApacheHttpClient5TransportBuilder;
import org.opensearch.client.transport.httpclient5.ResponseException;

/** The scenario of {@code e2e/clients/README.md} with the official Java client. */
public final class Scenario {
    private static final String INDEX = setting("INDEX");
    private static final String READ = setting("READ");
    private static final String OUTSIDE = setting("OUTSIDE");
    private static final Query ALL = Query.of(query -> query.matchAll(all -> all));
    private static final ObjectMapper JSON = new ObjectMapper();

    private interface Call {
        Object run() throws Exception;
    }

    /** What the bulk helper tells. */
    private static final class Told implements BulkListener<Void> {
        final AtomicInteger written = new AtomicInteger();
        final AtomicInteger failed = new AtomicInteger();
        final AtomicReference<Throwable> raised = new AtomicReference<>();

        @Override
        public void beforeBulk(long id, BulkRequest request, List<Void> contexts) {}

        @Override
        public void afterBulk(long id, BulkRequest request, List<Void> contexts, BulkResponse response) {
            response.items().forEach(item -> (item.error() == null ? written : failed).incrementAndGet());
        }

        @Override
        public void afterBulk(long id, BulkRequest request, List<Void> contexts, Throwable failure) {
            raised.set(failure);
        }
    }

    public static void main(String[] arguments) throws Exception {
        SSLContext tls = trusting();
        OpenSearchClient client = connect(tls, fetchToken(tls));
        Map<String, Object> found = scenario(client);
        OpenSearchClient expired = connect(tls, setting("INVALID"));
        found.put("invalid", raised(() -> search(expired, READ)));
        OpenSearchClient limited = connect(tls, setting("LIMITED"));
        found.put("limited", raised(() -> {
            for (int number = 0; number < 20; number++) {
                limited.info();
            }
            return "the limit was never reached";
        }));
        found.put("count", client.count(count -> count.index(INDEX)).count());
        System.out.print(JSON.writeValueAsString(found));
        for (OpenSearchClient each : List.of(client, expired, limited)) {
            each._transport().close();
        }
    }

    private static Map<String, Object> scenario(OpenSearchClient client) throws Exception {
        Map<String, Object> found = new LinkedHashMap<>();
        found.put("version", client.info().version().number());

        Told told = new Told();
        int count = Integer.parseInt(setting("DOCUMENTS"));
        try (BulkIngester<Void> ingester = ingester(client, told)) {
            for (int number = 0; number < count; number++) {
                String id = String.valueOf(number);
                Map<String, Object> document = Map.of("message", "line " + number + " äöü", "number", number);
                ingester.add(operation -> operation.index(index -> index.index(INDEX).id(id).document(document)));
            }
        }
        if (told.raised.get() != null) {
            throw new AssertionError(told.raised.get());
        }
        found.put("written", told.written.get());
        found.put("failed", told.failed.get());

        var answer = client.search(search -> search.index(READ)
            .query(query -> query.term(term -> term.field("level").value(FieldValue.of("ERROR"))))
            .aggregations("services", aggregation -> aggregation.terms(terms -> terms.field("service").size(100)))
            .trackTotalHits(track -> track.enabled(true)), JsonNode.class);
        found.put("errors", answer.hits().total().value());
        Map<String, Long> services = new TreeMap<>();
        answer.aggregations().get("services").sterms().buckets().array()
            .forEach(bucket -> services.put(bucket.key(), bucket.docCount()));
        found.put("services", services);

        found.put("scrolled", scroll(client));
        found.put("paged", page(client));

        List<RequestItem> searches = new ArrayList<>();
        for (String index : List.of(INDEX, READ)) {
            searches.add(RequestItem.of(item -> item.header(header -> header.index(index))
                .body(body -> body.size(0).trackTotalHits(track -> track.enabled(true)))));
        }
        List<Long> totals = new ArrayList<>();
        client.msearch(all -> all.searches(searches), JsonNode.class).responses()
            .forEach(one -> totals.add(one.result().hits().total().value()));
        found.put("msearch", totals);
        List<Boolean> there = new ArrayList<>();
        client.mget(many -> many.index(INDEX).ids("0", "17", "none"), JsonNode.class).docs()
            .forEach(document -> there.add(document.result().found()));
        found.put("mget", there);

        // Not finding a document is no exception in this client, so its own status is all there is to tell.
        var missing = client.get(get -> get.index(INDEX).id("none"), JsonNode.class);
        found.put("missing", Map.of("status", missing.found() ? 200 : 404, "text", "found: " + missing.found()));
        found.put("no_index", raised(() -> search(client, INDEX + "-none")));
        found.put("outside", raised(() -> search(client, OUTSIDE)));
        found.put("partly", raised(() -> {
            Told refused = new Told();
            try (BulkIngester<Void> ingester = ingester(client, refused)) {
                for (String index : List.of(INDEX, OUTSIDE)) {
                    ingester.add(operation -> operation.index(one -> one.index(index).id("partly").document(Map.of())));
                }
            }
            if (refused.raised.get() instanceof Exception) {
                throw (Exception) refused.raised.get();
            }
            return "the bulk helper told of no failure";
        }));
        return found;
    }

    private static BulkIngester<Void> ingester(OpenSearchClient client, Told told) {
        return BulkIngester.of(ingester -> ingester.client(client).maxOperations(500)
            .globalSettings(settings -> settings.refresh(Refresh.True)).listener(told));
    }

    private static int scroll(OpenSearchClient client) throws Exception {
        Set<String> seen = new HashSet<>();
        var first = client.search(search -> search.index(READ).size(500).scroll(time -> time.time("1m")), JsonNode.class);
        String id = first.scrollId();
        List<Hit<JsonNode>> hits = first.hits().hits();
        while (!hits.isEmpty()) {
            hits.forEach(hit -> seen.add(hit.index() + " " + hit.id()));
            String last = id;
            var next = client.scroll(scroll -> scroll.scrollId(last).scroll(time -> time.time("1m")), JsonNode.class);
            id = next.scrollId();
            hits = next.hits().hits();
        }
        String last = id;
        client.clearScroll(clear -> clear.scrollId(last));
        return seen.size();
    }

    private static int page(OpenSearchClient client) throws Exception {
        Set<String> seen = new HashSet<>();
        String point = client.createPit(create -> create.index(INDEX).keepAlive(time -> time.time("1m"))).pitId();
        List<FieldValue> after = null;
        while (true) {
            List<FieldValue> last = after;
            var hits = client.search(search -> {
                search.size(400).pit(Pit.of(pit -> pit.id(point)))
                    .sort(sort -> sort.field(field -> field.field("number").order(SortOrder.Asc)));
                return last == null ? search : search.searchAfter(last);
            }, JsonNode.class).hits().hits();
            if (hits.isEmpty()) {
                break;
            }
            hits.forEach(hit -> seen.add(hit.id()));
            after = hits.get(hits.size() - 1).sort();
        }
        client.deletePit(delete -> delete.pitId(point));
        return seen.size();
    }

    private static Object search(OpenSearchClient client, String index) throws Exception {
        return client.search(search -> search.index(index).query(ALL), JsonNode.class);
    }

    /** The exception of a call that must not succeed, with the messages of all its causes, as a stack trace shows them. */
    private static Map<String, Object> raised(Call call) throws Exception {
        Object answer;
        try {
            answer = call.run();
        } catch (Exception error) {
            int status = 0;
            StringBuilder text = new StringBuilder();
            for (Throwable cause = error; cause != null; cause = cause.getCause()) {
                text.append(cause.getMessage()).append('\n');
                if (cause instanceof OpenSearchException) {
                    status = ((OpenSearchException) cause).status();
                } else if (cause instanceof ResponseException) {
                    // So it ends for 401 and 403, which are no answers of the engine to this client.
                    status = ((ResponseException) cause).status();
                }
            }
            return Map.of("status", status, "text", text.toString());
        }
        throw new AssertionError("nothing was raised: " + answer);
    }

    private static OpenSearchClient connect(SSLContext tls, String token) throws Exception {
        var connections = PoolingAsyncClientConnectionManagerBuilder.create()
            .setTlsStrategy(ClientTlsStrategyBuilder.create().setSslContext(tls).build())
            .build();
        var transport = ApacheHttpClient5TransportBuilder.builder(HttpHost.create(URI.create(setting("URL"))))
            .setDefaultHeaders(new Header[] {new BasicHeader("Authorization", "Bearer " + token)})
            .setHttpClientConfigCallback(http -> http.setConnectionManager(connections))
            .setCompressionEnabled(true)
            .build();
        return new OpenSearchClient(transport);
    }

    private static String fetchToken(SSLContext tls) throws Exception {
        String credential = setting("CLIENT") + ":" + setting("SECRET");
        HttpRequest request = HttpRequest.newBuilder(URI.create(setting("URL") + "/oauth/token"))
            .header("Authorization", "Basic " + Base64.getEncoder().encodeToString(credential.getBytes(StandardCharsets.UTF_8)))
            .header("Content-Type", "application/x-www-form-urlencoded")
            .POST(HttpRequest.BodyPublishers.ofString("grant_type=client_credentials"))
            .build();
        HttpClient client = HttpClient.newBuilder().sslContext(tls).build();
        HttpResponse<String> answer = client.send(request, HttpResponse.BodyHandlers.ofString());
        if (answer.statusCode() != 200) {
            throw new AssertionError("no token: " + answer.statusCode() + " " + answer.body());
        }
        return JSON.readTree(answer.body()).get("access_token").asText();
    }

    private static SSLContext trusting() throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        try (InputStream file = Files.newInputStream(Path.of(setting("CA")))) {
            store.setCertificateEntry("gateway", CertificateFactory.getInstance("X.509").generateCertificate(file));
        }
        TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(store);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, trust.getTrustManagers(), null);
        return context;
    }

    private static String setting(String name) {
        return System.getenv("E2E_" + name);
    }
}
