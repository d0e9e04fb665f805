module stockclient

go 1.25.9

require (
	github.com/opensearch-project/opensearch-go/v4 v4.7.3
	golang.org/x/oauth2 v0.34.0
)

require golang.org/x/sync v0.22.0 // indirect
