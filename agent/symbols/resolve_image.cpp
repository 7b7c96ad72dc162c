// SPDX-License-Identifier: Apache-2.0
#include "agent/symbols/resolve_image.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <set>
#include <unordered_map>

#include "agent/symbols/go_code.h"
#include "agent/symbols/go_functions.h"
#include "agent/symbols/usdt.h"

namespace sonde {
namespace {

constexpr std::size_t kMostPlaces = 16'384;
constexpr std::size_t kPlacesOfOne = 1'100;  // of one query: a Go function with its returns, a USDT probe inlined often
constexpr std::size_t kLongestFunction = 1 << 20;
constexpr std::size_t kSameName = 16;  // static functions of one name

// Go's names have a package in front, those of C in a Go program (cgo) have none.
bool is_go_name(std::string_view symbol) { return symbol.find('.') != std::string_view::npos; }

class ImageResolver {
 public:
  ImageResolver(const ElfFile& file, std::span<const SymbolQuery> queries) : file_(file), queries_(queries) {
    answer_.go = is_go(file);
    answer_.stripped = !file.has_symbol_table();
    answer_.refusals.assign(queries.size(), Refusal::SymbolNotFound);
  }

  ImageAnswer run() {
    answer_.refusal = find_functions();
    if (answer_.refusal == Refusal::None) find_usdt();
    return std::move(answer_);
  }

 private:
  Refusal find_functions() {
    std::unordered_multimap<std::string_view, uint32_t> wanted;
    for (uint32_t i = 0; i < queries_.size(); ++i) {
      if (!queries_[i].usdt) wanted.emplace(queries_[i].symbol, i);
    }
    if (wanted.empty()) return Refusal::None;
    std::map<uint32_t, std::map<uint64_t, uint64_t>> found;  // query → address → size
    const auto visit = [&](std::string_view name, uint64_t address, uint64_t size) {
      for (auto [one, end] = wanted.equal_range(name); one != end; ++one) {
        auto& addresses = found[one->second];
        if (addresses.size() < kSameName) addresses[address] = std::max(addresses[address], size);
      }
    };
    Refusal refusal = file_.each_function(
        [&](std::string_view name, const Elf64_Sym& symbol) { visit(name, symbol.st_value, symbol.st_size); });
    if (refusal == Refusal::None && answer_.go && answer_.stripped) refusal = each_go_function(file_, visit);
    if (refusal != Refusal::None && refusal != Refusal::SymbolNotFound) return refusal;
    const bool go_unknown = answer_.go && !has_register_abi(file_);
    for (const auto& [query, addresses] : found) {
      for (const auto& [address, size] : addresses) {
        answer_.refusals[query] = go_unknown ? Refusal::OldGo : add_function(query, address, size);
      }
    }
    return Refusal::None;
  }

  Refusal add_function(uint32_t query, uint64_t address, uint64_t size) {
    const auto offset = file_.file_offset(address, PF_X);
    if (!offset) return Refusal::NotCode;
    if (!answer_.go || !is_go_name(queries_[query].symbol)) {
      if (answer_.go && queries_[query].returns) return Refusal::Unsupported;
      return add({.query = query, .is_return = false, .offset = *offset, .semaphore = 0, .argument = {}});
    }
    if (size == 0 || size > kLongestFunction) return Refusal::Undecodable;
    std::vector<unsigned char> code(size);
    if (!file_.read(*offset, code.data(), code.size())) return Refusal::BadElf;
    const GoCode go = read_go_code(file_.machine(), code);
    if (!go.decoded) return Refusal::Undecodable;
    if (queries_[query].returns) {
      for (const uint64_t at : go.returns) {
        const Refusal refusal =
            add({.query = query, .is_return = true, .offset = *offset + at, .semaphore = 0, .argument = {}});
        if (refusal != Refusal::None) return refusal;
      }
    }
    return add({.query = query, .is_return = false, .offset = *offset + go.entry, .semaphore = 0, .argument = {}});
  }

  void find_usdt() {
    if (std::ranges::none_of(queries_, &SymbolQuery::usdt)) return;
    const auto probes = usdt_probes(file_);
    for (uint32_t query = 0; query < queries_.size(); ++query) {
      const SymbolQuery& wanted = queries_[query];
      if (!wanted.usdt) continue;
      std::set<uint64_t> seen;
      for (const UsdtProbe& probe : probes) {
        if (probe.name != wanted.symbol || !seen.insert(probe.address).second) continue;
        answer_.refusals[query] = add_usdt(query, probe);
        if (answer_.refusals[query] != Refusal::None) break;
      }
    }
  }

  Refusal add_usdt(uint32_t query, const UsdtProbe& probe) {
    const auto offset = file_.file_offset(probe.address, PF_X);
    if (!offset) return Refusal::NotCode;
    CodePlace place{.query = query, .is_return = false, .offset = *offset, .semaphore = 0, .argument = {}};
    if (probe.semaphore) {
      const auto counter = file_.file_offset(probe.semaphore, PF_W);
      if (!counter) return Refusal::BadElf;
      place.semaphore = *counter;
    }
    if (queries_[query].argument) {
      const auto argument = usdt_argument(file_.machine(), probe.arguments, queries_[query].argument);
      if (!argument) return Refusal::Unsupported;
      place.argument = *argument;
    }
    return add(place);
  }

  Refusal add(const CodePlace& place) {
    if (answer_.places.size() >= kMostPlaces || ++places_of_[place.query] > kPlacesOfOne) return Refusal::TooLarge;
    answer_.places.push_back(place);
    return Refusal::None;
  }

  const ElfFile& file_;
  std::span<const SymbolQuery> queries_;
  std::map<uint32_t, std::size_t> places_of_;
  ImageAnswer answer_;
};

struct WireHeader {
  uint32_t places;
  uint32_t refusals;
  uint8_t refusal, go, stripped, reserved;
};
struct WirePlace {
  uint64_t offset, semaphore;
  uint32_t query;
  int32_t displacement;
  uint16_t register_offset;
  uint8_t is_return, kind, is_signed, bytes, reserved[2];
};
static_assert(sizeof(WireHeader) == 12 && sizeof(WirePlace) == 32);

template <typename T>
bool take(std::string_view& bytes, T& out) {
  if (bytes.size() < sizeof(T)) return false;
  std::memcpy(&out, bytes.data(), sizeof(T));
  bytes.remove_prefix(sizeof(T));
  return true;
}

bool sound(const WirePlace& place, std::size_t queries) {
  const bool width = place.bytes == 1 || place.bytes == 2 || place.bytes == 4 || place.bytes == 8;
  return place.query < queries && place.is_return <= 1 && place.kind <= 3 && place.is_signed <= 1 && width &&
         place.register_offset % 8 == 0 && place.register_offset <= 31 * 8 && place.offset <= INT64_MAX &&
         place.semaphore <= INT64_MAX;
}

}  // namespace

ImageAnswer resolve_image(const ByteSource& source, Machine machine, std::span<const SymbolQuery> queries,
                          const ElfLimits& limits) {
  ElfFile file;
  const Refusal refusal = ElfFile::open(source, machine, limits, file);
  if (refusal == Refusal::None) return ImageResolver(file, queries).run();
  ImageAnswer answer;
  answer.refusal = refusal;
  answer.refusals.assign(queries.size(), refusal);
  return answer;
}

std::string encode_answer(const ImageAnswer& answer) {
  std::string bytes;
  const auto put = [&](const auto& value) { bytes.append(reinterpret_cast<const char*>(&value), sizeof(value)); };
  put(WireHeader{static_cast<uint32_t>(answer.places.size()), static_cast<uint32_t>(answer.refusals.size()),
                 static_cast<uint8_t>(answer.refusal), answer.go, answer.stripped, 0});
  for (const CodePlace& place : answer.places) {
    put(WirePlace{place.offset,
                  place.semaphore,
                  place.query,
                  place.argument.displacement,
                  place.argument.register_offset,
                  place.is_return,
                  static_cast<uint8_t>(place.argument.kind),
                  place.argument.is_signed,
                  place.argument.bytes,
                  {}});
  }
  for (const Refusal refusal : answer.refusals) put(static_cast<uint8_t>(refusal));
  return bytes;
}

bool decode_answer(std::string_view bytes, std::size_t queries, ImageAnswer& answer) {
  WireHeader header;
  constexpr auto kLast = static_cast<uint8_t>(kLastRefusal);
  if (!take(bytes, header) || header.refusal > kLast || header.refusals != queries || header.places > kMostPlaces)
    return false;
  answer = {};
  answer.refusal = static_cast<Refusal>(header.refusal);
  answer.go = header.go != 0;
  answer.stripped = header.stripped != 0;
  for (uint32_t i = 0; i < header.places; ++i) {
    WirePlace wire;
    if (!take(bytes, wire) || !sound(wire, queries)) return false;
    CodePlace place{.query = wire.query,
                    .is_return = wire.is_return != 0,
                    .offset = wire.offset,
                    .semaphore = wire.semaphore,
                    .argument = {}};
    place.argument = {static_cast<ArgumentPlace::Kind>(wire.kind), wire.is_signed != 0, wire.bytes,
                      wire.register_offset, wire.displacement};
    answer.places.push_back(place);
  }
  for (uint32_t i = 0; i < header.refusals; ++i) {
    uint8_t refusal = 0;
    if (!take(bytes, refusal) || refusal > kLast) return false;
    answer.refusals.push_back(static_cast<Refusal>(refusal));
  }
  return bytes.empty();
}

}  // namespace sonde
