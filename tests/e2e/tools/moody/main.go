// SPDX-License-Identifier: Apache-2.0

// Command moody is an OTLP metrics receiver that answers as told, for what a healthy Collector does not do on request:
//
//	moody -listen 127.0.0.1:4317 -answers exhausted,retry:3s,partial:5,unavailable,ok
//
// The answers are given one after the other, the last one for ever. Each request is one line of JSON on stdout.
// Over HTTP (-http) the same words are 400 (invalid), 429 with Retry-After (retry:3s), 503 (unavailable) and so on.
package main

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

type server struct {
	pmetricotlp.UnimplementedGRPCServer
	mu      sync.Mutex
	answers []string
	out     *json.Encoder
}

type seen struct {
	UnixMillis int64             `json:"ms"`
	Answer     string            `json:"answer"`
	Points     int               `json:"points"`
	Resources  int               `json:"resources"`
	Bytes      int               `json:"bytes"`
	Headers    map[string]string `json:"headers"`
}

// next notes the request and takes the answer that is due.
func (s *server) next(request pmetricotlp.ExportRequest, size int, headers map[string]string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	answer := s.answers[0]
	if len(s.answers) > 1 {
		s.answers = s.answers[1:]
	}
	metrics := request.Metrics()
	if err := s.out.Encode(seen{time.Now().UnixMilli(), answer, metrics.DataPointCount(),
		metrics.ResourceMetrics().Len(), size, headers}); err != nil {
		log.Fatal(err)
	}
	return answer
}

func partial(count string) pmetricotlp.ExportResponse {
	response := pmetricotlp.NewExportResponse()
	rejected, err := strconv.ParseInt(count, 10, 64)
	if err != nil {
		log.Fatal(err)
	}
	response.PartialSuccess().SetRejectedDataPoints(rejected)
	response.PartialSuccess().SetErrorMessage("moody does not like them")
	return response
}

func delay(text string) time.Duration {
	wait, err := time.ParseDuration(text)
	if err != nil {
		log.Fatal(err)
	}
	return wait
}

func (s *server) Export(ctx context.Context, request pmetricotlp.ExportRequest) (pmetricotlp.ExportResponse, error) {
	headers := map[string]string{}
	if md, ok := metadata.FromIncomingContext(ctx); ok {
		for key, values := range md {
			headers[key] = strings.Join(values, ",")
		}
	}
	bytes, _ := request.MarshalProto()
	empty := pmetricotlp.NewExportResponse()
	word, argument, _ := strings.Cut(s.next(request, len(bytes), headers), ":")
	switch word {
	case "ok":
		return empty, nil
	case "partial":
		return partial(argument), nil
	case "exhausted": // without RetryInfo: must not be sent again
		return empty, status.Error(codes.ResourceExhausted, "moody has enough")
	case "retry":
		st, err := status.New(codes.ResourceExhausted, "moody wants a pause").WithDetails(
			&errdetails.RetryInfo{RetryDelay: durationpb.New(delay(argument))})
		if err != nil {
			log.Fatal(err)
		}
		return empty, st.Err()
	case "unavailable":
		return empty, status.Error(codes.Unavailable, "moody is out")
	case "invalid":
		return empty, status.Error(codes.InvalidArgument, "moody does not understand")
	}
	log.Fatalf("unknown answer %q", word)
	return empty, nil
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body io.Reader = r.Body
	if r.Header.Get("Content-Encoding") == "gzip" {
		unpacked, err := gzip.NewReader(body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		body = unpacked
	}
	bytes, err := io.ReadAll(body)
	request := pmetricotlp.NewExportRequest()
	if err == nil {
		err = request.UnmarshalProto(bytes)
	}
	if err != nil || r.URL.Path != "/v1/metrics" {
		http.Error(w, fmt.Sprint(r.URL.Path, " ", err), http.StatusBadRequest)
		return
	}
	headers := map[string]string{}
	for key, values := range r.Header {
		headers[strings.ToLower(key)] = strings.Join(values, ",")
	}
	word, argument, _ := strings.Cut(s.next(request, len(bytes), headers), ":")
	response := pmetricotlp.NewExportResponse()
	code := http.StatusOK
	switch word {
	case "partial":
		response = partial(argument)
	case "exhausted":
		code = http.StatusRequestEntityTooLarge
	case "retry":
		w.Header().Set("Retry-After", strconv.Itoa(int(delay(argument).Seconds())))
		code = http.StatusTooManyRequests
	case "unavailable":
		code = http.StatusServiceUnavailable
	case "invalid":
		code = http.StatusBadRequest
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
	w.WriteHeader(code)
	if code == http.StatusOK {
		out, _ := response.MarshalProto()
		_, _ = w.Write(out)
	}
}

func main() {
	listen := flag.String("listen", "127.0.0.1:4317", "address")
	answers := flag.String("answers", "ok", "comma-separated")
	overHTTP := flag.Bool("http", false, "OTLP/HTTP instead of gRPC")
	flag.Parse()
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	s := &server{answers: strings.Split(*answers, ","), out: json.NewEncoder(os.Stdout)}
	if *overHTTP {
		log.Fatal(http.Serve(listener, s))
	}
	grpcServer := grpc.NewServer(grpc.MaxRecvMsgSize(64 << 20))
	pmetricotlp.RegisterGRPCServer(grpcServer, s)
	log.Fatal(grpcServer.Serve(listener))
}
