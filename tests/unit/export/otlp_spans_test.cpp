// SPDX-License-Identifier: Apache-2.0
// The two forms of spans, read by the generated classes.
#include "agent/export/otlp_spans.h"

#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

#include "tests/unit/export/otlp_trace_server.h"

namespace sonde {
namespace {

using namespace test;  // NOLINT
namespace trace = opentelemetry::proto::trace::v1;

pb::ExportTraceServiceRequest decoded(const std::vector<Span>& spans) {
  const auto batch = span_batch(spans);
  pb::ExportTraceServiceRequest request;
  EXPECT_TRUE(request.ParseFromString(encode_otlp_spans(pointers(*batch))));
  return request;
}

// "key=value", doubles with what printf makes of them.
template <typename Attributes>
std::map<std::string, std::string> texts(const Attributes& attributes) {
  std::map<std::string, std::string> out;
  for (const auto& kv : attributes) {
    const auto& value = kv.value();
    out[kv.key()] = value.has_string_value()   ? value.string_value()
                    : value.has_int_value()    ? std::to_string(value.int_value())
                    : value.has_double_value() ? std::to_string(value.double_value())
                                               : "?";
  }
  return out;
}

TEST(OtlpSpans, ASlowFsync) {
  Span span = slow_fsync(resource(1, "postgres-0"), 7);
  span.suppressed = 3;
  span.device = "8:0";
  const auto request = decoded({span});
  ASSERT_EQ(request.resource_spans_size(), 1);
  const auto& rs = request.resource_spans(0);
  EXPECT_EQ(rs.schema_url(), "https://opentelemetry.io/schemas/1.44.0");
  EXPECT_EQ(texts(rs.resource().attributes()),
            (std::map<std::string, std::string>{
                {"k8s.container.restart_count", "3"}, {"k8s.pod.name", "postgres-0"}, {"service.name", "sonde"}}));
  ASSERT_EQ(rs.scope_spans_size(), 1);
  EXPECT_EQ(rs.scope_spans(0).scope().name(), "sonde");
  EXPECT_EQ(rs.scope_spans(0).scope().version(), SONDE_VERSION);
  EXPECT_EQ(rs.scope_spans(0).schema_url(), rs.schema_url());
  ASSERT_EQ(rs.scope_spans(0).spans_size(), 1);
  const trace::Span& made = rs.scope_spans(0).spans(0);
  EXPECT_EQ(made.name(), "fsync");
  EXPECT_EQ(made.kind(), trace::Span::SPAN_KIND_INTERNAL);
  EXPECT_EQ(made.trace_id(), std::string(15, '\0') + '\1');
  EXPECT_EQ(made.span_id(), std::string("\xab\0\0\0\0\0\0\7", 8));
  EXPECT_TRUE(made.parent_span_id().empty());
  EXPECT_EQ(made.start_time_unix_nano(), kStart + 7'000'000'000);
  EXPECT_EQ(made.end_time_unix_nano(), kStart + 7'250'000'000);
  EXPECT_FALSE(made.has_status());
  EXPECT_EQ(texts(made.attributes()), (std::map<std::string, std::string>{{"sonde.operation", "Fsync"},
                                                                          {"sonde.threshold", "0.100000"},
                                                                          {"sonde.policy", "slow-disks"},
                                                                          {"sonde.suppressed", "3"},
                                                                          {"process.pid", "4711"},
                                                                          {"process.executable.name", "postgres"},
                                                                          {"thread.id", "4712"},
                                                                          {"thread.name", "walwriter"},
                                                                          {"system.device", "8:0"}}));
}

TEST(OtlpSpans, OnlyWhatFailedHasAStatus) {
  Span span = slow_fsync(resource(1));
  span.error = 5;
  span.error_type = "EIO";
  const auto request = decoded({span});
  const trace::Span& made = request.resource_spans(0).scope_spans(0).spans(0);
  EXPECT_EQ(made.status().code(), trace::Status::STATUS_CODE_ERROR);
  EXPECT_EQ(texts(made.attributes()).at("error.type"), "EIO");
}

TEST(OtlpSpans, WhatBelongsToOtherOperations) {
  Span span = slow_fsync(resource(1));
  span.bytes = 4096;
  span.direction = "write";
  span.transport = "tcp";
  span.peer_address = "2001:db8::1";
  span.peer_port = 5432;
  span.dns_type = "AAAA";
  span.lock_kind = "rwsem";
  span.oom_scope = "memcg";
  const auto request = decoded({span});
  const auto attributes = texts(request.resource_spans(0).scope_spans(0).spans(0).attributes());
  const std::map<std::string, std::string> wanted{{"sonde.io.size", "4096"},
                                                  {"disk.io.direction", "write"},
                                                  {"network.transport", "tcp"},
                                                  {"network.peer.address", "2001:db8::1"},
                                                  {"network.peer.port", "5432"},
                                                  {"dns.question.type", "AAAA"},
                                                  {"sonde.lock.kind", "rwsem"},
                                                  {"sonde.oom.scope", "memcg"}};
  for (const auto& [key, value] : wanted) EXPECT_EQ(attributes.at(key), value) << key;
}

TEST(OtlpSpans, SpansOfOneResourceShareIt) {
  const ResourcePtr a = resource(1, "a"), b = resource(2, "b");
  const auto request = decoded({slow_fsync(a), slow_fsync(a), slow_fsync(b)});
  ASSERT_EQ(request.resource_spans_size(), 2);
  EXPECT_EQ(request.resource_spans(0).scope_spans(0).spans_size(), 2);
  EXPECT_EQ(request.resource_spans(1).scope_spans(0).spans_size(), 1);
}

TEST(OtlpSpans, WhatIsNotUtf8OrTooLongDoesNotSpoilTheRequest) {
  Span span = slow_fsync(resource(1));
  span.comm = "bad\xff";
  span.executable = std::string(5000, 'x');
  const auto request = decoded({span});
  const auto attributes = texts(request.resource_spans(0).scope_spans(0).spans(0).attributes());
  EXPECT_EQ(attributes.at("thread.name"), "bad?");
  EXPECT_EQ(attributes.at("process.executable.name").size(), 2048U);
}

// Ids are base64 in the JSON of protocol buffers and hexadecimal in OTLP's: looked at by themselves.
TEST(OtlpSpans, TheLineOfJsonSaysTheSame) {
  Span failed = slow_fsync(resource(2, "other \"quoted\""), 9);
  failed.error = 28;
  failed.error_type = "ENOSPC";
  failed.comm = "bad\xff";
  const auto batch = span_batch({slow_fsync(resource(1), 7), slow_fsync(resource(1)), failed});
  std::string line = encode_otlp_spans_json(pointers(*batch));
  EXPECT_EQ(line.find('\n'), std::string::npos);
  for (const char* id : {R"("traceId":"00000000000000000000000000000001")", R"("spanId":"ab00000000000007")"}) {
    EXPECT_NE(line.find(id), std::string::npos) << line;
  }
  pb::ExportTraceServiceRequest from_json, from_bytes;
  const auto read = google::protobuf::util::JsonStringToMessage(line, &from_json);
  ASSERT_TRUE(read.ok()) << read.ToString() << line;
  ASSERT_TRUE(from_bytes.ParseFromString(encode_otlp_spans(pointers(*batch))));
  for (auto* request : {&from_json, &from_bytes}) {
    for (auto& rs : *request->mutable_resource_spans()) {
      for (auto& span : *rs.mutable_scope_spans(0)->mutable_spans()) {
        span.clear_trace_id();
        span.clear_span_id();
        if (span.status().code() == trace::Status::STATUS_CODE_UNSET) span.clear_status();
      }
    }
  }
  EXPECT_EQ(from_json.DebugString(), from_bytes.DebugString());
}

}  // namespace
}  // namespace sonde
