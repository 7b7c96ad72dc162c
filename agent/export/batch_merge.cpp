// SPDX-License-Identifier: Apache-2.0
#include "agent/export/batch_merge.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "agent/export/stream_key.h"

namespace sonde {
namespace {

// One life of a stream; its end mark is a thing of its own, and so is each beginning, which no later value replaces.
struct Segment {
  StreamKey stream;
  uint64_t start_ns = 0;
  bool mark = false;
  uint64_t begins_ns = 0;
  friend bool operator==(const Segment&, const Segment&) = default;
};

struct SegmentHash {
  std::size_t operator()(const Segment& segment) const {
    return StreamKeyHash{}(segment.stream) ^ (segment.start_ns ^ segment.begins_ns) * 0xD6E8FEB86659FD93ULL ^
           (segment.mark ? 1 : 0);
  }
};

Segment segment_of(const Resource& resource, const Point& point) {
  const bool has_start = point.metric->instrument != Instrument::Gauge;
  return {stream_of(resource, point), has_start ? point.start_ns : 0, point.no_recorded_value,
          point.begins ? point.time_ns : 0};
}

uint64_t attribute_bytes(const AttributeSet& set) {
  uint64_t bytes = sizeof(AttributeSet);
  for (const Attribute& attribute : set) {
    bytes += sizeof(Attribute) + attribute.key.size();
    if (const auto* text = std::get_if<std::string>(&attribute.value)) bytes += text->size();
  }
  return bytes;
}

// The attributes of a live stream are the pipeline's; those of one that has ended may be held by this batch alone.
uint64_t point_bytes(const Batch& batch, const Point& point) {
  const uint64_t flat = sizeof(Point) + 8ULL * point.bucket_length;
  if (point.time_ns >= batch.time_ns) return flat;
  return flat + attribute_bytes(*point.attributes) / static_cast<uint64_t>(std::max(1L, point.attributes.use_count()));
}

// Puts points of several batches together; points of one metric next to each other, in the order they were added.
class Assembler {
 public:
  void add(const ResourcePtr& resource, const Batch& batch, const Point& point) {
    auto [it, added] = places_.try_emplace(resource->id, resources_.size());
    if (added) resources_.push_back({});
    Collected& collected = resources_[it->second];
    collected.resource = resource;  // the newest description
    collected.points.push_back({point, &batch});
  }

  BatchPtr build(uint64_t time_ns) {
    auto out = std::make_shared<Batch>();
    out->time_ns = time_ns;
    for (Collected& collected : resources_) {
      std::stable_sort(collected.points.begin(), collected.points.end(), [](const Taken& a, const Taken& b) {
        return std::less<const MetricSpec*>{}(a.point.metric, b.point.metric);
      });
      out->resources.push_back({collected.resource, static_cast<uint32_t>(out->points.size()),
                                static_cast<uint32_t>(collected.points.size())});
      for (Taken& taken : collected.points) {
        const auto from = taken.batch->buckets.begin() + taken.point.bucket_begin;
        taken.point.bucket_begin = static_cast<uint32_t>(out->buckets.size());
        out->buckets.insert(out->buckets.end(), from, from + taken.point.bucket_length);
        out->points.push_back(std::move(taken.point));
      }
    }
    return out;
  }

 private:
  struct Taken {
    Point point;
    const Batch* batch;
  };
  struct Collected {
    ResourcePtr resource;
    std::vector<Taken> points;
  };
  std::unordered_map<uint64_t, size_t> places_;  // by Resource::id
  std::vector<Collected> resources_;
};

template <typename Visit>
void each(const Batch& batch, Visit visit) {
  for (const ResourcePoints& range : batch.resources) {
    for (uint32_t i = 0; i < range.length; i++) visit(range.resource, batch.points[range.begin + i]);
  }
}

}  // namespace

uint64_t batch_bytes(const Batch& batch) {
  uint64_t bytes = sizeof(Batch) + batch.resources.size() * sizeof(ResourcePoints);
  for (const Point& point : batch.points) bytes += point_bytes(batch, point);
  return bytes;
}

MergedBatch merge_batches(const BatchPtr& older, const BatchPtr& newer) {
  std::unordered_set<Segment, SegmentHash> replaced;
  replaced.reserve(newer->points.size());
  each(*newer, [&](const ResourcePtr& resource, const Point& point) { replaced.insert(segment_of(*resource, point)); });

  MergedBatch merged;
  Assembler assembler;
  bool kept = false;
  each(*older, [&](const ResourcePtr& resource, const Point& point) {
    if (replaced.count(segment_of(*resource, point)) > 0) {
      merged.superseded++;
      return;
    }
    kept = true;
    assembler.add(resource, *older, point);
  });
  if (!kept) {
    merged.batch = newer;
    return merged;
  }
  each(*newer, [&](const ResourcePtr& resource, const Point& point) { assembler.add(resource, *newer, point); });
  merged.batch = assembler.build(newer->time_ns);
  return merged;
}

BatchPtr rest_of(const BatchPtr& batch, const BatchCursor& from) {
  if (from == BatchCursor{}) return batch;
  Assembler assembler;
  for (uint32_t r = from.resource; r < batch->resources.size(); r++) {
    const ResourcePoints& range = batch->resources[r];
    for (uint32_t i = r == from.resource ? from.point : 0; i < range.length; i++) {
      assembler.add(range.resource, *batch, batch->points[range.begin + i]);
    }
  }
  return assembler.build(batch->time_ns);
}

BatchPtr trimmed(const BatchPtr& batch, uint64_t max_bytes,
                 const std::function<void(const Resource&, const Point&)>& dropped) {
  uint64_t bytes = batch_bytes(*batch);
  if (bytes <= max_bytes) return batch;
  std::vector<const Point*> old;
  for (const Point& point : batch->points) {
    if (point.time_ns < batch->time_ns) old.push_back(&point);
  }
  std::stable_sort(old.begin(), old.end(), [](const Point* a, const Point* b) { return a->time_ns < b->time_ns; });
  std::unordered_set<const Point*> gone;
  for (const Point* point : old) {
    if (bytes <= max_bytes) break;
    bytes -= std::min(bytes, point_bytes(*batch, *point));
    gone.insert(point);
  }
  if (gone.empty()) return batch;
  Assembler assembler;
  each(*batch, [&](const ResourcePtr& resource, const Point& point) {
    if (gone.count(&point) > 0) {
      dropped(*resource, point);
    } else {
      assembler.add(resource, *batch, point);
    }
  });
  return assembler.build(batch->time_ns);
}

}  // namespace sonde
