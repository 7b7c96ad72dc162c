// SPDX-License-Identifier: Apache-2.0
// Which stream of numbers a point belongs to: resource, metric, attributes. Compared by content.
#pragma once

#include <cstdint>
#include <functional>

#include "agent/pipeline/batch.h"

namespace sonde {

struct StreamKey {
  uint64_t resource = 0;
  const MetricSpec* metric = nullptr;
  AttributeSetPtr attributes;

  friend bool operator==(const StreamKey& a, const StreamKey& b) {
    return a.resource == b.resource && a.metric == b.metric &&
           (a.attributes == b.attributes || *a.attributes == *b.attributes);
  }
};

struct StreamKeyHash {
  std::size_t operator()(const StreamKey& key) const {
    uint64_t hash = key.resource * 0x9E3779B97F4A7C15ULL ^ reinterpret_cast<uintptr_t>(key.metric);
    for (const Attribute& attribute : *key.attributes) {
      hash = mixed(hash, std::hash<std::string>{}(attribute.key));
      hash = mixed(hash, std::hash<decltype(attribute.value)>{}(attribute.value));
    }
    return hash;
  }

 private:
  static uint64_t mixed(uint64_t hash, uint64_t more) {
    hash = (hash ^ more) * 0xFF51AFD7ED558CCDULL;
    return hash ^ hash >> 32;
  }
};

inline StreamKey stream_of(const Resource& resource, const Point& point) {
  return {resource.id, point.metric, point.attributes};
}

}  // namespace sonde
