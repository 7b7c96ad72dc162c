// SPDX-License-Identifier: Apache-2.0
// A Go program whose goroutines begin with small stacks and outgrow them in the measured function: the stack moves while
// return probes are on. It must end well, and every call must be known with its duration.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include "tests/kernel/support/function_test.h"
#include "tests/kernel/support/traits.h"

namespace sonde::test {
namespace {

// User functions need SYS_PTRACE, which the chart does not grant by default; tests/e2e/pod_test.py has them.
SONDE_TRAITS("FunctionGoTest.*", Trait::HostOnly);

constexpr const char* kProgram = R"(package main

import (
	"fmt"
	"os"
	"strconv"
	"sync"
)

//go:noinline
func Grow(depth int) int {
	var pad [200]byte
	pad[depth%200] = byte(depth)
	if depth == 0 {
		return int(pad[0])
	}
	return Grow(depth-1) + int(pad[depth%200])&1
}

//go:noinline
func AppWrite(data []byte) int { return len(data) }

func main() {
	rounds, _ := strconv.Atoi(os.Args[1])
	var gate [1]byte
	os.Stdin.Read(gate[:])
	for round := 0; round < rounds; round++ {
		var group sync.WaitGroup
		for i := 0; i < 10; i++ {
			group.Add(1)
			go func() {
				defer group.Done()
				Grow(99)
				AppWrite(make([]byte, 100))
			}()
		}
		group.Wait()
	}
	fmt.Println("done")
}
)";

std::string go_tool() {
  for (const char* path : {"/usr/local/go/bin/go", "/usr/bin/go"}) {
    if (access(path, X_OK) == 0) return path;
  }
  return {};
}

bool build_program(const TemporaryFiles& files, const std::string& options = "") {
  files.add("main.go", kProgram);
  files.add("go.mod", "module program\n\ngo 1.18\n");
  const std::string command = "cd " + files.directory() + " && GOFLAGS=-mod=mod GOTOOLCHAIN=local " + go_tool() +
                              " build " + options + " -o program . >" + files.directory() + "/log 2>&1";
  return system(command.c_str()) == 0;
}

class FunctionGoTest : public FunctionTest {
 protected:
  void measure(const std::string& name, const std::string& path);
};

void FunctionGoTest::measure(const std::string& name, const std::string& path) {
  const uint64_t rounds = scaled(300);
  auto& box = cgroup(name);
  int gate[2];
  ASSERT_EQ(pipe(gate), 0);
  const pid_t pid = box.start([&] {
    dup2(gate[0], 0);
    close(gate[0]);
    close(gate[1]);
    execl(path.c_str(), "program", std::to_string(rounds).c_str(), nullptr);
    _exit(9);
  });
  auto grow = function("grow", "main.Grow", {"Calls", "Duration"});
  auto write_call = function("write", "main.AppWrite", {"Calls", "Bytes"}, 2);  // a slice is pointer, length, capacity
  auto errors = function("errors", "main.Grow", {"Errors"});
  grow.path = write_call.path = errors.path = path;
  ask(box, {grow, write_call, errors});
  ASSERT_TRUE(attached(box, 2)) << problems();
  EXPECT_EQ(report("errors").refusal, Refusal::Unsupported);
  EXPECT_EQ(write(gate[1], "g", 1), 1);
  close(gate[0]);
  close(gate[1]);
  int status = -1;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  collect();
  const uint64_t calls = rounds * 10 * 100;
  EXPECT_EQ(total(box, "sonde.function.calls", {"grow"}), static_cast<int64_t>(calls));
  EXPECT_EQ(histogram(box, "sonde.function.duration", {"grow"}).count, calls);
  EXPECT_EQ(total(box, "sonde.function.calls", {"write"}), static_cast<int64_t>(rounds * 10));
  EXPECT_EQ(total(box, "sonde.function.bytes", {"write"}), static_cast<int64_t>(rounds * 10 * 100));
  EXPECT_EQ(losses("function"), 0U);
}

TEST_F(FunctionGoTest, GoroutinesThatOutgrowTheirStacksAreMeasuredAndUnharmed) {
  if (go_tool().empty()) GTEST_SKIP() << "there is no Go compiler";
  const TemporaryFiles files;
  ASSERT_TRUE(build_program(files));
  measure("box", files.directory() + "/program");
}

TEST_F(FunctionGoTest, StrippedProgramsAreMeasuredByTheTableOfTheirRuntime) {
  if (go_tool().empty()) GTEST_SKIP() << "there is no Go compiler";
  for (const std::string mode : {"exe", "pie"}) {
    const TemporaryFiles files;
    ASSERT_TRUE(build_program(files, "-ldflags='-s -w' -buildmode=" + mode));
    measure(mode, files.directory() + "/program");
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace sonde::test
