// SPDX-License-Identifier: Apache-2.0
#include "agent/export/gzip.h"

#include <zlib.h>

namespace sonde {
namespace {

constexpr int kWindow = 15 + 16;  // the largest; 16: with gzip's header

}  // namespace

Result<std::string> gzip(std::string_view data) {
  z_stream stream{};
  if (deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, kWindow, 8, Z_DEFAULT_STRATEGY) != Z_OK)
    return Error("cannot start gzip: out of memory");
  std::string out(deflateBound(&stream, static_cast<uLong>(data.size())), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data.data()));
  stream.avail_in = static_cast<uInt>(data.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  const int done = deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  if (done != Z_STREAM_END) return Error("gzip did not finish");
  return out;
}

}  // namespace sonde
