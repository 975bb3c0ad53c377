// The CRDs of the Gateway API and of its inference extension, for tests. The first has the version that Traefik is built with.
module llmservice.dev/hack/cluster/gateway-api

go 1.26.0

require (
	sigs.k8s.io/gateway-api v1.6.1
	sigs.k8s.io/gateway-api-inference-extension v1.6.0
)
