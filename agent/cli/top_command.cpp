// SPDX-License-Identifier: Apache-2.0
// `sonde top`: a live table per container or cgroup. Measures by itself, no agent needed.
#include <poll.h>
#include <signal.h>
#include <spdlog/fmt/fmt.h>
#include <spdlog/spdlog.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>

#include "agent/base/clock.h"
#include "agent/base/duration.h"
#include "agent/base/text.h"
#include "agent/cli/checks.h"
#include "agent/cli/cli.h"
#include "agent/cli/terminal.h"
#include "agent/cli/top_rows.h"
#include "agent/runtime/agent.h"

namespace sonde::cli {
namespace {

using Json = nlohmann::ordered_json;

struct Sort {
  char key;
  const char* name;
  TopColumn column;
};
constexpr Sort kSorts[] = {{'n', "name", TopColumn::Name},        {'r', "read", TopColumn::Read},
                           {'w', "write", TopColumn::Write},      {'o', "operations", TopColumn::Operations},
                           {'l', "latency", TopColumn::OperationP99}, {'e', "errors", TopColumn::Errors},
                           {'s', "waits", TopColumn::Waits},      {'p', "wait-latency", TopColumn::WaitP99}};

std::atomic<bool> interrupted{false};

// Keys without Enter and without echo while it lives; nothing if standard input is no terminal.
class RawKeys {
 public:
  RawKeys() {
    if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &before_) != 0) return;
    termios raw = before_;
    raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
    active_ = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
  }
  ~RawKeys() {
    if (active_) tcsetattr(STDIN_FILENO, TCSANOW, &before_);
  }
  RawKeys(const RawKeys&) = delete;
  RawKeys& operator=(const RawKeys&) = delete;

  // The next key within the time, 0 if none.
  char wait(uint64_t timeout_ns) const {
    pollfd input{active_ ? STDIN_FILENO : -1, POLLIN, 0};
    if (poll(&input, 1, static_cast<int>(timeout_ns / 1'000'000)) <= 0) return 0;
    char key = 0;
    return read(STDIN_FILENO, &key, 1) == 1 ? key : 0;
  }

 private:
  termios before_{};
  bool active_ = false;
};

struct TopFlags {
  std::map<std::string, std::string> settings;
  std::string file;
  std::string every = "2s";
  std::string sort = "operations";
  std::string format = "table";
  std::string duration;
  bool once = false;
};

std::string table_of(const std::vector<TopRow>& rows, std::size_t most, int width) {
  // Short titles: 80 columns hold all of them and some 20 of the name. What an operation and a wait are, the footer says.
  Table table({{"CGROUP OR CONTAINER", false}, {"READ/S", true}, {"WRITE/S", true}, {"OPS/S", true},
               {"OPS P99", true}, {"ERR/S", true}, {"WAITS/S", true}, {"WAIT P99", true}});
  for (std::size_t i = 0; i < rows.size() && i < most; ++i) {
    const TopRow& row = rows[i];
    table.add({row.name, bytes_text(row.read), bytes_text(row.write), count_text(row.operations),
               row.operation_p99 < 0 ? "-" : seconds_text(row.operation_p99), count_text(row.errors),
               count_text(row.waits), row.wait_p99 < 0 ? "-" : seconds_text(row.wait_p99)},
              row.errors > 0 ? Colour::Yellow : Colour::None);
  }
  return table.text(width);
}

std::string json_of(const std::vector<TopRow>& rows, double seconds) {
  Json list = Json::array();
  const auto or_null = [](double value) { return value < 0 ? Json(nullptr) : Json(value); };
  for (const TopRow& row : rows) {
    list.push_back({{"name", row.name},
                    {"read_bytes_per_second", row.read},
                    {"write_bytes_per_second", row.write},
                    {"file_operations_per_second", row.operations},
                    {"file_operation_p99_seconds", or_null(row.operation_p99)},
                    {"file_errors_per_second", row.errors},
                    {"run_queue_waits_per_second", row.waits},
                    {"run_queue_wait_p99_seconds", or_null(row.wait_p99)}});
  }
  return Json{{"seconds", seconds}, {"rows", list}}.dump(2) + "\n";
}

void show(const std::vector<TopRow>& rows, double seconds, const TopFlags& flags, const std::string& sorted) {
  if (flags.format == "json") {
    fmt::print("{}", json_of(rows, seconds));
  } else if (flags.once || !is_terminal()) {
    fmt::print("{}\n", table_of(rows, rows.size(), 0));
  } else {
    const TerminalSize size = terminal_size();
    const auto room = static_cast<std::size_t>(std::max(size.rows - 4, 3));
    fmt::print("\x1b[H\x1b[2J{}{}", table_of(rows, room, size.columns),
               rows.empty() ? "nothing has happened yet\n" : "");
    fmt::print("{}\n", paint(Colour::Grey, fmt::format("{} of {} by {}; ops: files, waits: CPU; sort: n r w o l e s p, quit: q",
                                                       std::min(room, rows.size()), rows.size(), sorted)));
  }
  std::fflush(stdout);
}

const Sort* sort_named(const std::string& name) {
  const auto* found = std::ranges::find_if(kSorts, [&](const Sort& sort) { return name == sort.name; });
  return found == std::end(kSorts) ? nullptr : found;
}

// When the newest of these values were collected; 0 if there are none.
uint64_t time_of(const std::vector<ResourceSeriesPtr>& series) {
  uint64_t latest = 0;
  for (const auto& one : series) latest = std::max(latest, one->time_ns);
  return latest;
}

// The two moments that a table compares are collections, so rates are right whenever this thread gets to run.
void watch(Agent& agent, const TopFlags& flags, uint64_t started_ns, uint64_t duration_ns) {
  const RawKeys keys;
  const Sort* sort = sort_named(flags.sort);
  TopMoment before;
  uint64_t before_ns = started_ns;
  const uint64_t end = duration_ns ? monotonic_ns() + duration_ns : UINT64_MAX;
  if (is_terminal() && flags.format != "json") fmt::print("measuring for {} ...\n", flags.every);
  std::fflush(stdout);
  while (!interrupted && monotonic_ns() < end) {
    const auto series = agent.newest();
    const uint64_t now_ns = time_of(series);
    if (now_ns > before_ns) {
      TopMoment after = moment_of(series);
      const double seconds = static_cast<double>(now_ns - before_ns) / 1e9;
      show(rows_between(before, after, seconds, sort->column), seconds, flags, sort->name);
      before = std::move(after);
      before_ns = now_ns;
      if (flags.once) return;
    }
    const char key = keys.wait(50'000'000);
    if (key == 'q' || key == 'Q') return;
    if (const auto* found = std::ranges::find_if(kSorts, [&](const Sort& s) { return s.key == key; });
        key && found != std::end(kSorts)) {
      sort = found;
    }
  }
}

void run_top(const TopFlags& flags, Context& context) {
  log_to_stderr();
  spdlog::set_level(spdlog::level::warn);
  const auto every = parse_duration(flags.every);
  if (!every || *every < 200'000'000) {
    return context.fail("--every is a time of 200ms or more, like 2s; \"" + flags.every + "\" is not");
  }
  uint64_t duration_ns = 0;
  if (!flags.duration.empty()) {
    const auto duration = parse_duration(flags.duration);
    if (!duration) return context.fail("--duration: " + duration.error().message());
    duration_ns = *duration;
  }
  AgentOptions options;
  auto settings = flags.settings;
  settings["interval"] = flags.every;
  auto loaded = read_config(settings, flags.file, &options.inputs);
  if (!loaded) return context.fail(loaded.error().message());
  if (!may_load_programs()) {
    return context.fail("`sonde top` loads BPF programs: run it as root (sudo sonde top), or with BPF and PERFMON", kFailed);
  }
  options.loaded = std::move(*loaded);
  options.loaded.config.exports.to.clear();
  options.loaded.config.ceilings.min_period_ms = 100;
  options.servers = false;
  options.greet = false;
  const uint64_t started_ns = realtime_ns();
  auto agent = Agent::start(std::move(options));
  if (!agent) return context.fail(agent.error().message(), kFailed);
  struct sigaction action {};
  action.sa_handler = [](int) { interrupted = true; };
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  std::thread loop([&] { (*agent)->run(); });
  watch(**agent, flags, started_ns, duration_ns);
  (*agent)->stop();
  loop.join();
}

}  // namespace

void add_top_command(CLI::App& app, Context& context) {
  auto* command = app.add_subcommand("top", "Live table: what each container or cgroup does");
  auto flags = std::make_shared<TopFlags>();
  command->add_option("--every", flags->every, "Time between two tables")->default_str("2s");
  std::vector<std::string> names;
  for (const Sort& sort : kSorts) names.emplace_back(sort.name);
  command->add_option("--sort", flags->sort, "Column to sort by")
      ->check([names](const std::string& word) {
        if (std::ranges::find(names, word) != names.end()) return std::string();
        return "must be one of " + join(names) + ", not '" + word + "'";
      })
      ->default_str("operations");
  command->add_flag("--once", flags->once, "One table, then end");
  command->add_option("--duration", flags->duration, "End after this time");
  command->add_option("--config", flags->file, "The agent's configuration file")->check(not_empty);
  add_output_flag(*command, flags->format);
  for (const char* name : {"probes", "policies", "target-pid", "target-comm", "cgroup-root"}) {
    command->add_option_function<std::string>(
        std::string("--") + name, [flags, name](const std::string& value) { flags->settings[name] = value; },
        "As for `sonde agent`");
  }
  command->callback([flags, &context] { run_top(*flags, context); });
}

}  // namespace sonde::cli
