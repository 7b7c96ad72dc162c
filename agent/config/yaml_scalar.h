// SPDX-License-Identifier: Apache-2.0
// What a scalar of YAML is to Kubernetes: kubectl and client-go make JSON of a document with sigs.k8s.io/yaml, and the API server
// reads that. A policy in a file must mean what the same text means there.
#pragma once

#include <cstdint>
#include <optional>

#include "agent/config/yaml_tree.h"

namespace sonde {

enum class ScalarType : uint8_t { Text, Null, Boolean, Number };

struct ScalarValue {
  ScalarType type = ScalarType::Text;
  bool truth = false;              // of a Boolean
  std::optional<int64_t> integer;  // of a Number that is whole, however it is written: 5, 0x5, 5.0, 5e0
};

// Of plain scalars; quoted ones are texts.
ScalarValue scalar_value(const YamlNode& node);

}  // namespace sonde
