// SPDX-License-Identifier: Apache-2.0
// What a receiver answers: status details, partial success, Retry-After; and requests read back from disk to be split.
// Layers: export
#include "agent/export/otlp_sender.h"
#include "agent/export/otlp_split.h"
#include "tests/fuzz/support.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  using namespace sonde;
  fuzz::Input input(data, size);
  const uint8_t kind = input.byte();
  const std::string rest(input.rest());
  switch (kind % 5) {
    case 0: {
      const SendResult result = judge_grpc(1 + input.byte() % 16, "message", std::string(input.rest()));
      fuzz::require(result.verdict != SendResult::Verdict::Delivered && !result.code.empty());
      break;
    }
    case 1: {
      HttpResponse response;
      response.status = static_cast<int>(input.number(2) % 700);
      response.headers = {{"content-type", input.word()}, {"retry-after", input.word()}};
      response.body = std::string(input.rest());
      const SendResult result = judge_http(response, 1'700'000'000'000'000'000);
      fuzz::require((result.verdict == SendResult::Verdict::Delivered) == (response.status / 100 == 2));
      break;
    }
    case 2: fuzz::require(judge_response(rest).verdict == SendResult::Verdict::Delivered); break;
    case 3: parse_retry_after(rest, 1'700'000'000'000'000'000); break;
    default: {
      const auto halves = split_request(rest);
      fuzz::require(halves.empty() || halves.size() == 2);
      for (const auto& half : halves) fuzz::require(half.points > 0);
    }
  }
  return 0;
}
