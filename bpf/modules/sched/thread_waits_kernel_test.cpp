// SPDX-License-Identifier: Apache-2.0
// sonde.thread.time: each way to wait is in the state that README.md says.
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "tests/kernel/support/thread_time_test.h"

namespace sonde::test {
namespace {

// Ways to wait for some 100 ms. What they need besides is made and taken down by the way, which takes next to no time.
void receive_nothing() {
  int pair[2];
  char byte = 0;
  const timeval limit{0, 100'000};
  EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  EXPECT_EQ(setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
  EXPECT_EQ(read(pair[0], &byte, 1), -1);
  close(pair[0]);
  close(pair[1]);
}

void receive_no_datagram() {
  char byte = 0;
  const timeval limit{0, 100'000};
  const int udp = socket(AF_INET, SOCK_DGRAM, 0);
  EXPECT_EQ(setsockopt(udp, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
  sockaddr address{};
  address.sa_family = AF_INET;
  EXPECT_EQ(bind(udp, &address, sizeof(address)), 0);
  EXPECT_EQ(recv(udp, &byte, 1, 0), -1);
  close(udp);
}

void wait_for_events() {
  int pair[2];
  EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  const int set = epoll_create1(0);
  epoll_event event{EPOLLIN, {}};
  EXPECT_EQ(epoll_ctl(set, EPOLL_CTL_ADD, pair[0], &event), 0);
  EXPECT_EQ(epoll_wait(set, &event, 1, 100), 0);
  close(set);
  pollfd one{pair[0], POLLIN, 0};
  EXPECT_EQ(poll(&one, 1, 100), 0);
  close(pair[0]);
  close(pair[1]);
}

void poll_nothing() {
  EXPECT_EQ(poll(nullptr, 0, 100), 0);
  timeval limit{0, 50'000};
  EXPECT_EQ(select(0, nullptr, nullptr, nullptr, &limit), 0);
}

void wait_on_a_futex() {
  uint32_t word = 7;
  const timespec limit{0, 100'000'000};
  EXPECT_EQ(syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 7, &limit, nullptr, 0), -1);
}

// Ends a call that would wait for ever.
void interrupt_in_100_ms() {
  struct sigaction nothing {};
  nothing.sa_handler = [](int) {};
  sigaction(SIGALRM, &nothing, nullptr);
  const itimerval once{{0, 0}, {0, 100'000}};
  EXPECT_EQ(setitimer(ITIMER_REAL, &once, nullptr), 0);
}

void read_an_empty_pipe() {
  int ends[2];
  char byte = 0;
  EXPECT_EQ(pipe(ends), 0);
  interrupt_in_100_ms();
  EXPECT_EQ(read(ends[0], &byte, 1), -1);
  close(ends[0]);
  close(ends[1]);
}

void write_into_a_full_pipe() {
  int ends[2];
  EXPECT_EQ(pipe(ends), 0);
  std::vector<char> much(size_t{1} << 20);
  interrupt_in_100_ms();
  EXPECT_LT(write(ends[1], much.data(), much.size()), static_cast<ssize_t>(much.size()));
  close(ends[0]);
  close(ends[1]);
}

void accept_nobody() {
  const int listening = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr address{};
  address.sa_family = AF_UNIX;
  EXPECT_EQ(bind(listening, &address, sizeof(address.sa_family)), 0);  // a name of the kernel's choice
  EXPECT_EQ(listen(listening, 1), 0);
  interrupt_in_100_ms();
  EXPECT_EQ(accept(listening, nullptr, nullptr), -1);
  close(listening);
}

void pause_until_a_signal() {
  interrupt_in_100_ms();
  EXPECT_EQ(pause(), -1);
}

void sleep_100_ms() { sleep_ms(100); }

struct Wait {
  const char* name;
  sched_thread_state state;
  void (*wait)();
};

class ThreadWaitTest : public ThreadTimeTest, public ::testing::WithParamInterface<Wait> {};

TEST_P(ThreadWaitTest, IsInTheStateThatItBelongsTo) {
  const auto state = GetParam().state;
  auto& box = cgroup("waiter");
  auto& other = cgroup("other");
  select(box, {{"sched", SCHED_FLAG_THREAD}});
  select(other, {{"sched", SCHED_FLAG_THREAD}});
  Measured measured;
  HeldProcess process(box, {[] {},
                            [&] {
                              for (int i = 0; i < 4; ++i) measured.during(GetParam().wait);
                            }});
  process.step(0);
  const auto before = thread_time(box);
  process.step(1);
  const auto time = thread_time(box) - before;
  expect_sum(time, 1);
  constexpr int64_t kWaitSlack = 2 * kMillisecond;  // two clocks are read around each
  EXPECT_GE(time.state[static_cast<std::size_t>(state)], measured.ns() - time.on_or_waiting() - kWaitSlack) << time;
  if (state != SCHED_THREAD_SLEEP) {  // it sleeps before and after
    EXPECT_LE(time.state[static_cast<std::size_t>(state)], measured.ns() + kWaitSlack) << time;
  }
  expect_no_other(time);
  EXPECT_EQ(thread_time(other).sum(), 0);
}

INSTANTIATE_TEST_SUITE_P(Waits, ThreadWaitTest,
                         ::testing::Values(Wait{"StreamSocket", SCHED_THREAD_NETWORK, receive_nothing},
                                           Wait{"Datagram", SCHED_THREAD_NETWORK, receive_no_datagram},
                                           Wait{"Accept", SCHED_THREAD_NETWORK, accept_nobody},
                                           Wait{"EpollAndPoll", SCHED_THREAD_NETWORK, wait_for_events},
                                           Wait{"PollOfNothing", SCHED_THREAD_SLEEP, poll_nothing},
                                           Wait{"Futex", SCHED_THREAD_LOCK, wait_on_a_futex},
                                           Wait{"PipeRead", SCHED_THREAD_SLEEP, read_an_empty_pipe},
                                           Wait{"PipeWrite", SCHED_THREAD_SLEEP, write_into_a_full_pipe},
                                           Wait{"Pause", SCHED_THREAD_SLEEP, pause_until_a_signal},
                                           Wait{"Nanosleep", SCHED_THREAD_SLEEP, sleep_100_ms}),
                         [](const auto& wait) { return std::string(wait.param.name); });

}  // namespace
}  // namespace sonde::test
