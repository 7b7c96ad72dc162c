// SPDX-License-Identifier: Apache-2.0
// Files that are memory only are not cached files; what the kernel's workers read for io_uring is missed once.
#include "tests/kernel/support/cache_test.h"
#include "tests/kernel/support/io_ring.h"

namespace sonde::test {
namespace {

TEST_F(CacheTest, FilesThatAreMemoryAreNeitherAddedNorReadNorEvicted) {
  auto& box = cgroup("memory");
  select(box, {{"cache", kEverything}});
  const auto work = [](bool tmpfs) {
    constexpr int64_t kPages = 256;
    const int fd = tmpfs ? scratch_file(0) : memfd_create("sonde", MFD_CLOEXEC);
    const std::vector<char> page(static_cast<std::size_t>(kPage), 'y');
    for (int64_t i = 0; i < kPages; ++i) MUST(write(fd, page.data(), page.size()) == kPage);
    std::vector<char> all(static_cast<std::size_t>(kPages * kPage));
    MUST(pread(fd, all.data(), all.size(), 0) == kPages * kPage);
    auto* memory = static_cast<volatile char*>(mmap(nullptr, all.size(), PROT_READ, MAP_SHARED, fd, 0));
    MUST(memory != MAP_FAILED);
    for (int64_t i = 0; i < kPages; ++i) MUST(memory[i * kPage] == 'y');
    munmap(const_cast<char*>(memory), all.size());
    MUST(ftruncate(fd, 0) == 0);
    close(fd);
  };
  HeldProcess process(box, {[&] { work(true); }, [&] { work(false); }, [] { MUST(mlockall(MCL_CURRENT) == 0); }});
  process.step(0);
  process.step(1);
  process.step(2);  // pages of its own program stay, also where memory is short
  for (const std::size_t number : {0, 1}) {
    const Counts counts = step(box, process, number);
    EXPECT_EQ(counts.added + counts.evicted + counts.dirtied, 0) << number;
    EXPECT_EQ(counts.hit + counts.miss, 0) << number;
  }
}

// Many at a time, each by a worker of its own: whoever brings a page in, its first use is no hit.
TEST_F(CacheTest, AColdReadByWorkersOfIoUringIsAMissAndNoHit) {
  if (const Ring ring; ring.error()) GTEST_SKIP() << "io_uring_setup: " << strerror(ring.error());
  auto& box = cgroup("workers");
  select(box, {{"cache", kEverything}});
  constexpr unsigned kAtOnce = 32;
  constexpr int64_t kPiece = 4;
  DataFile other(1024);
  DataFile file(1024);
  const auto work = [](const DataFile& at) {
    Ring ring(kAtOnce);
    std::vector<char> buffer(static_cast<std::size_t>(kAtOnce * kPiece * kPage));
    const int fd = at.open_again();
    for (int64_t offset = 0; offset < at.bytes();) {
      for (unsigned i = 0; i < kAtOnce; ++i, offset += kPiece * kPage) {
        io_uring_sqe sqe = request(IORING_OP_READ, fd, buffer.data() + i * kPiece * kPage,
                                   static_cast<unsigned>(kPiece * kPage), static_cast<uint64_t>(offset));
        sqe.flags = IOSQE_ASYNC;
        ring.put(sqe);
      }
      ring.submit(kAtOnce);
      for (unsigned i = 0; i < kAtOnce; ++i) MUST(ring.next() == kPiece * kPage);
    }
    close(fd);
    close(ring.fd());
  };
  HeldProcess process(box, {[&] { work(other); }, [&] { work(file); }});
  process.step(0);
  undisturbed([&] {
    file.drop();
    const Counts cold = step(box, process, 1);
    const Counts hot = step(box, process, 1);
    if (cold.disk != file.bytes() || hot.disk != 0) return false;
    EXPECT_EQ(cold.miss, file.bytes());
    EXPECT_LE(cold.hit, file.bytes() / 50);  // two workers on one stretch may each ask for what the other brings in
    EXPECT_EQ(hot.miss, 0);
    EXPECT_EQ(hot.hit, file.bytes());
    return true;
  });
}

}  // namespace
}  // namespace sonde::test
