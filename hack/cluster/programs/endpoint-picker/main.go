// Asks an endpoint picker as a gateway does, and prints the endpoint that it picks: ask-endpoint-picker ADDRESS
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extproc "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

const destination = "x-gateway-destination-endpoint"

func main() {
	picked, err := ask(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(picked)
}

func ask(address string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return "", err
	}
	defer connection.Close()
	stream, err := extproc.NewExternalProcessorClient(connection).Process(ctx)
	if err != nil {
		return "", err
	}
	header := func(key, value string) *core.HeaderValue { return &core.HeaderValue{Key: key, RawValue: []byte(value)} }
	headers := []*core.HeaderValue{header(":method", "POST"), header(":path", "/v1/chat/completions"), header("content-type", "application/json")}
	requests := []*extproc.ProcessingRequest{
		{Request: &extproc.ProcessingRequest_RequestHeaders{RequestHeaders: &extproc.HttpHeaders{Headers: &core.HeaderMap{Headers: headers}}}},
		{Request: &extproc.ProcessingRequest_RequestBody{RequestBody: &extproc.HttpBody{Body: []byte(`{"model": "chat", "messages": []}`), EndOfStream: true}}},
	}
	for _, request := range requests {
		if err := stream.Send(request); err != nil {
			return "", err
		}
	}
	for {
		response, err := stream.Recv()
		if err != nil {
			return "", err
		}
		if refused := response.GetImmediateResponse(); refused != nil {
			return "", fmt.Errorf("refused with %v: %s", refused.GetStatus().GetCode(), refused.GetBody())
		}
		for _, common := range []*extproc.CommonResponse{response.GetRequestHeaders().GetResponse(), response.GetRequestBody().GetResponse()} {
			for _, each := range common.GetHeaderMutation().GetSetHeaders() {
				if each.GetHeader().GetKey() == destination {
					return string(each.GetHeader().GetRawValue()), nil
				}
			}
		}
	}
}
