// The scenario of `e2e/clients/README.md` with the official Go client and Go's own OAuth 2.0 library.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/opensearch-project/opensearch-go/v4"
	"github.com/opensearch-project/opensearch-go/v4/opensearchapi"
	"github.com/opensearch-project/opensearch-go/v4/opensearchutil"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// Found is the report.
type Found map[string]any

// Raised is an error as somebody who does not look into it gets to read it.
type Raised struct {
	Status     int    `json:"status"`
	Text       string `json:"text"`
	RetryAfter string `json:"retry_after,omitempty"`
}

func setting(name string) string { return os.Getenv("E2E_" + name) }

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

// trusting is Go's own transport, with the gateway's certificate as the only one to trust.
func trusting() *http.Transport {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(must(os.ReadFile(setting("CA")))) {
		log.Fatal("no certificate to trust")
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	return transport
}

func connect(source oauth2.TokenSource, base http.RoundTripper, discover bool) *opensearchapi.Client {
	return must(opensearchapi.NewClient(opensearchapi.Config{Client: opensearch.Config{
		Addresses:            []string{setting("URL")},
		Transport:            &oauth2.Transport{Source: source, Base: base},
		CompressRequestBody:  true,
		DiscoverNodesOnStart: &discover,
	}}))
}

func fixed(token string) oauth2.TokenSource {
	return oauth2.StaticTokenSource(&oauth2.Token{AccessToken: token})
}

// raised is what a call reports that must not succeed.
func raised(response *opensearch.Response, err error) Raised {
	if err == nil {
		log.Fatal("nothing was raised")
	}
	found := Raised{Text: err.Error()}
	var structured *opensearch.StructError
	if errors.As(err, &structured) {
		found.Status = structured.Status
	}
	if response != nil {
		found.Status = response.StatusCode
		found.RetryAfter = response.Header.Get("Retry-After")
	}
	return found
}

func body(value any) io.Reader { return bytes.NewReader(must(json.Marshal(value))) }

type object = map[string]any

func lines(values ...any) io.Reader {
	var text bytes.Buffer
	for _, value := range values {
		text.Write(append(must(json.Marshal(value)), '\n'))
	}
	return &text
}

func scenario(ctx context.Context, client *opensearchapi.Client) Found {
	index, read := setting("INDEX"), setting("READ")
	found := Found{"version": must(client.Info(ctx, nil)).Version.Number}

	indexer := must(opensearchutil.NewBulkIndexer(opensearchutil.BulkIndexerConfig{
		Client: client, Index: index, NumWorkers: 2, FlushBytes: 50_000, Refresh: "true",
		OnError: func(_ context.Context, err error) { log.Fatal(err) },
	}))
	for number := range must(strconv.Atoi(setting("DOCUMENTS"))) {
		document := object{"message": fmt.Sprintf("line %d äöü", number), "number": number}
		if err := indexer.Add(ctx, opensearchutil.BulkIndexerItem{
			Action: "index", DocumentID: strconv.Itoa(number), Body: bytes.NewReader(must(json.Marshal(document))),
		}); err != nil {
			log.Fatal(err)
		}
	}
	if err := indexer.Close(ctx); err != nil {
		log.Fatal(err)
	}
	found["written"], found["failed"] = indexer.Stats().NumFlushed, indexer.Stats().NumFailed

	answer := must(client.Search(ctx, &opensearchapi.SearchReq{Indices: []string{read}, Body: body(object{
		"query":            object{"term": object{"level": "ERROR"}},
		"aggs":             object{"services": object{"terms": object{"field": "service", "size": 100}}},
		"track_total_hits": true,
	})}))
	var aggregations struct {
		Services struct {
			Buckets []struct {
				Key   string `json:"key"`
				Count int    `json:"doc_count"`
			} `json:"buckets"`
		} `json:"services"`
	}
	if err := json.Unmarshal(answer.Aggregations, &aggregations); err != nil {
		log.Fatal(err)
	}
	services := map[string]int{}
	for _, bucket := range aggregations.Services.Buckets {
		services[bucket.Key] = bucket.Count
	}
	found["errors"], found["services"] = answer.Hits.Total.Value, services

	found["scrolled"] = scroll(ctx, client, read)
	found["paged"] = page(ctx, client, index)

	whole := object{"size": 0, "track_total_hits": true}
	searches := must(client.MSearch(ctx, opensearchapi.MSearchReq{
		Body: lines(object{"index": index}, whole, object{"index": read}, whole),
	}))
	totals := []int{}
	for _, one := range searches.Responses {
		totals = append(totals, one.Hits.Total.Value)
	}
	found["msearch"] = totals
	many := must(client.MGet(ctx, opensearchapi.MGetReq{Index: index, Body: body(object{"ids": []string{"0", "17", "none"}})}))
	there := []bool{}
	for _, document := range many.Docs {
		there = append(there, document.Found)
	}
	found["mget"] = there

	missing, err := client.Document.Get(ctx, opensearchapi.DocumentGetReq{Index: index, DocumentID: "none"})
	found["missing"] = raised(missing.Inspect().Response, err)
	found["no_index"] = searchRefused(ctx, client, index+"-none")
	found["outside"] = searchRefused(ctx, client, setting("OUTSIDE"))
	found["partly"] = partly(ctx, client, index)
	return found
}

func scroll(ctx context.Context, client *opensearchapi.Client, read string) int {
	size, seen := 500, map[string]bool{}
	first := must(client.Search(ctx, &opensearchapi.SearchReq{
		Indices: []string{read},
		Params:  opensearchapi.SearchParams{Scroll: time.Minute, Size: &size},
	}))
	id, hits := *first.ScrollID, first.Hits.Hits
	for len(hits) > 0 {
		for _, hit := range hits {
			seen[hit.Index+" "+hit.ID] = true
		}
		next := must(client.Scroll.Get(ctx, opensearchapi.ScrollGetReq{
			ScrollID: id, Params: opensearchapi.ScrollGetParams{Scroll: time.Minute},
		}))
		id, hits = *next.ScrollID, next.Hits.Hits
	}
	must(client.Scroll.Delete(ctx, opensearchapi.ScrollDeleteReq{ScrollIDs: []string{id}}))
	return len(seen)
}

func page(ctx context.Context, client *opensearchapi.Client, index string) int {
	point := must(client.PointInTime.Create(ctx, opensearchapi.PointInTimeCreateReq{
		Indices: []string{index}, Params: opensearchapi.PointInTimeCreateParams{KeepAlive: time.Minute},
	}))
	seen, after := map[string]bool{}, []any(nil)
	for {
		search := object{"size": 400, "pit": object{"id": point.PitID}, "sort": []object{{"number": "asc"}}}
		if after != nil {
			search["search_after"] = after
		}
		hits := must(client.Search(ctx, &opensearchapi.SearchReq{Body: body(search)})).Hits.Hits
		if len(hits) == 0 {
			break
		}
		for _, hit := range hits {
			seen[hit.ID] = true
		}
		after = hits[len(hits)-1].Sort
	}
	must(client.PointInTime.Delete(ctx, opensearchapi.PointInTimeDeleteReq{PitID: []string{point.PitID}}))
	return len(seen)
}

func searchRefused(ctx context.Context, client *opensearchapi.Client, index string) Raised {
	answer, err := client.Search(ctx, &opensearchapi.SearchReq{Indices: []string{index}})
	if answer == nil {
		return raised(nil, err)
	}
	return raised(answer.Inspect().Response, err)
}

// partly writes inside and outside with the bulk helper, which reports what is refused to its callbacks.
func partly(ctx context.Context, client *opensearchapi.Client, index string) Raised {
	var refused atomic.Value
	indexer := must(opensearchutil.NewBulkIndexer(opensearchutil.BulkIndexerConfig{
		Client: client, NumWorkers: 1,
		OnError: func(_ context.Context, err error) { refused.Store(err) },
	}))
	for _, name := range []string{index, setting("OUTSIDE")} {
		if err := indexer.Add(ctx, opensearchutil.BulkIndexerItem{
			Index: name, Action: "index", DocumentID: "partly", Body: strings.NewReader("{}"),
		}); err != nil {
			log.Fatal(err)
		}
	}
	if err := indexer.Close(ctx); err != nil {
		return raised(nil, err)
	}
	err, _ := refused.Load().(error)
	return raised(nil, err)
}

func untilLimited(ctx context.Context, client *opensearchapi.Client) Raised {
	for range 20 {
		answer, err := client.Info(ctx, nil)
		if err != nil {
			return raised(answer.Inspect().Response, err)
		}
	}
	log.Fatal("the limit was never reached")
	return Raised{}
}

func main() {
	log.SetFlags(0)
	base := trusting()
	ctx := context.WithValue(context.Background(), oauth2.HTTPClient, &http.Client{Transport: base})
	source := (&clientcredentials.Config{
		ClientID: setting("CLIENT"), ClientSecret: setting("SECRET"), TokenURL: setting("URL") + "/oauth/token",
	}).TokenSource(ctx)

	var found Found
	if setting("SNIFF") == "" {
		client := connect(source, base, false)
		found = scenario(ctx, client)
		found["invalid"] = searchRefused(ctx, connect(fixed(setting("INVALID")), base, false), setting("READ"))
		found["limited"] = untilLimited(ctx, connect(fixed(setting("LIMITED")), base, false))
		count := must(client.Indices.Count(ctx, &opensearchapi.IndicesCountReq{Indices: []string{setting("INDEX")}}))
		found["count"] = count.Count
	} else {
		client := connect(source, base, true)
		found = Found{}
		if err := client.Client.DiscoverNodes(ctx); err != nil {
			found["sniffed"] = Raised{Text: err.Error()}
		}
		// It goes on with the address it was given.
		found["after"] = must(client.Info(ctx, nil)).Version.Number
	}
	must(os.Stdout.Write(must(json.Marshal(found))))
}
