// SPDX-License-Identifier: Apache-2.0
#include "agent/pipeline/span.h"

namespace sonde {

std::string span_name(const Span& span) {
  if (span.operation == SpanOperation::BlockIO && !span.direction.empty()) return "block " + span.direction;
  std::string name(name_of(span.operation));
  if (span.operation == SpanOperation::Function && !span.function_name.empty()) name += " " + span.function_name;
  return name;
}

}  // namespace sonde
