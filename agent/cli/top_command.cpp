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

#include "agent/base/capabilities.h"
#include "agent/base/clock.h"
#include "agent/base/duration.h"
#include "agent/base/json.h"
#include "agent/base/text.h"
#include "agent/cli/checks.h"
#include "agent/cli/cli.h"
#include "agent/cli/terminal.h"
#include "agent/cli/top_columns.h"
#include "agent/cli/top_rows.h"
#include "agent/runtime/agent.h"

namespace sonde::cli {
namespace {

using Json = nlohmann::ordered_json;

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
  std::string probes;
  std::string sort;
  std::string format = "table";
  std::string duration;
  bool once = false;
};

constexpr std::size_t kNameWidth = 24;
constexpr std::size_t kBlank = 6;  // columns of a table in which nothing has happened

// What is shown, and by what it is sorted.
struct View {
  std::vector<TopColumn> columns;
  std::size_t by = kByName;
  bool essential = true;

  std::string sorted() const { return by == kByName ? "name" : columns[by].name; }
};

std::string cell_of(const TopColumn& column, double value) {
  if (value < 0) return "-";
  if (column.form == Form::Bytes) return bytes_text(value);
  return column.form == Form::Seconds ? seconds_text(value) : count_text(value);
}

// Columns that fit: that by which it is sorted, then those in which anything has happened. width 0: all of these.
std::vector<std::size_t> shown_columns(const View& view, const std::vector<TopRow>& rows, int width) {
  std::vector<std::size_t> all;
  std::size_t used = kNameWidth;
  const auto add = [&](std::size_t column) {
    const std::size_t needs = std::max<std::size_t>(view.columns[column].title.size(), 8) + 2;
    if (width > 0 && !all.empty() && used + needs > static_cast<std::size_t>(width)) return;
    used += needs;
    all.push_back(column);
  };
  if (!view.essential && view.by != kByName) add(view.by);
  for (std::size_t i = 0; i < view.columns.size(); ++i) {
    const bool moved = std::ranges::any_of(rows, [i](const TopRow& row) { return row.values[i] > 0; });
    if (view.essential || ((moved || (rows.empty() && i < kBlank)) && i != view.by)) add(i);
  }
  return all;
}

std::string table_of(const View& view, const std::vector<TopRow>& rows, std::size_t most, int width) {
  // Short titles: 80 columns hold all essentials and some 20 of the name. What an operation and a wait are, the footer says.
  const auto shown = view.essential ? shown_columns(view, rows, 0) : shown_columns(view, rows, width);
  std::vector<Table::Column> columns{{"CGROUP OR CONTAINER", false}};
  for (const std::size_t i : shown) columns.push_back({view.columns[i].title, true});
  Table table(columns);
  for (std::size_t row = 0; row < rows.size() && row < most; ++row) {
    std::vector<std::string> cells{rows[row].name};
    bool trouble = false;
    for (const std::size_t i : shown) {
      cells.push_back(cell_of(view.columns[i], rows[row].values[i]));
      trouble = trouble || (rows[row].values[i] > 0 && view.columns[i].name.ends_with("errors"));
    }
    table.add(std::move(cells), trouble ? Colour::Yellow : Colour::None);
  }
  return table.text(width);
}

std::string json_of(const View& view, const std::vector<TopRow>& rows, double seconds) {
  Json columns = Json::array();
  for (const TopColumn& column : view.columns) columns.push_back({{"field", column.field}, {"metric", column.metric}});
  Json list = Json::array();
  for (const TopRow& row : rows) {
    Json one{{"name", row.name}};
    for (std::size_t i = 0; i < row.values.size(); ++i) {
      one[view.columns[i].field] = row.values[i] < 0 ? Json(nullptr) : Json(row.values[i]);
    }
    list.push_back(std::move(one));
  }
  return json_text(Json{{"seconds", seconds}, {"sorted_by", view.sorted()}, {"columns", columns}, {"rows", list}}, 2) +
         "\n";
}

// "ops: files, waits: CPU; sort: n r w o l e s p".
std::string keys_of(const std::vector<TopColumn>& columns) {
  std::vector<std::string> legends;
  std::string keys = "sort: n";
  for (const TopColumn& column : columns) {
    if (!column.legend.empty()) legends.push_back(column.legend);
    if (column.key) keys += std::string(" ") + column.key;
  }
  return join(legends) + "; " + keys;
}

void show(const View& view, const std::vector<TopRow>& rows, double seconds, const TopFlags& flags) {
  if (flags.format == "json") {
    fmt::print("{}", json_of(view, rows, seconds));
  } else if (flags.once || !is_terminal()) {
    fmt::print("{}\n", table_of(view, rows, rows.size(), 0));
  } else {
    const TerminalSize size = terminal_size();
    const auto room = static_cast<std::size_t>(std::max(size.rows - 4, 3));
    fmt::print("\x1b[H\x1b[2J{}{}", table_of(view, rows, room, size.columns), rows.empty() ? "no activity yet\n" : "");
    const std::string keys = view.essential ? keys_of(view.columns) : "sort: n, < and >";
    fmt::print("{}\n", paint(Colour::Grey, fmt::format("{} of {} by {}; {}, quit: q", std::min(room, rows.size()),
                                                       rows.size(), view.sorted(), keys)));
  }
  std::fflush(stdout);
}

// `<` and `>` go through the columns, letters choose one where it has a letter.
void sort_by_key(View& view, char key) {
  if (key == 'n') view.by = kByName;
  const std::size_t count = view.columns.size();
  if (key == '>') view.by = view.by == kByName ? 0 : (view.by + 1) % count;
  if (key == '<') view.by = view.by == kByName ? count - 1 : (view.by + count - 1) % count;
  const auto found = std::ranges::find_if(view.columns, [key](const TopColumn& one) { return key && one.key == key; });
  if (found != view.columns.end()) view.by = static_cast<std::size_t>(found - view.columns.begin());
}

// When the newest of these values were collected; 0 if there are none.
uint64_t time_of(const std::vector<ResourceSeriesPtr>& series) {
  uint64_t latest = 0;
  for (const auto& one : series) latest = std::max(latest, one->time_ns);
  return latest;
}

// The two moments that a table compares are collections, so rates are right whenever this thread gets to run.
void watch(Agent& agent, View view, const TopFlags& flags, uint64_t started_ns, uint64_t duration_ns) {
  const RawKeys keys;
  TopMoment before;
  uint64_t before_ns = started_ns;
  const uint64_t end = duration_ns ? monotonic_ns() + duration_ns : UINT64_MAX;
  if (is_terminal() && flags.format != "json") fmt::print("measuring for {} ...\n", flags.every);
  std::fflush(stdout);
  while (!interrupted && monotonic_ns() < end) {
    const auto series = agent.newest();
    const uint64_t now_ns = time_of(series);
    if (now_ns > before_ns) {
      TopMoment after = moment_of(series, view.columns);
      const double seconds = static_cast<double>(now_ns - before_ns) / 1e9;
      show(view, rows_between(before, after, seconds, view.columns, view.by), seconds, flags);
      before = std::move(after);
      before_ns = now_ns;
      if (flags.once) return;
    }
    const char key = keys.wait(50'000'000);
    if (key == 'q' || key == 'Q') return;
    sort_by_key(view, key);
  }
}

// Of the probes asked for; `asked` gets their names.
Result<View> view_of(const TopFlags& flags, std::vector<std::string>& asked) {
  View view;
  if (flags.probes.empty()) {
    view.columns = essential_columns();
  } else {
    const auto probes = probes_named(flags.probes);
    if (!probes) return probes.error().with("--probe");
    view.essential = false;
    for (const ModuleInfo* probe : *probes) {
      asked.emplace_back(probe->name);
      for (TopColumn& column : columns_of(*probe)) view.columns.push_back(std::move(column));
    }
  }
  const auto first = std::ranges::find_if(view.columns, &TopColumn::first);
  const TopColumn& otherwise = first == view.columns.end() ? view.columns.front() : *first;
  const auto by = column_named(view.columns, flags.sort.empty() ? otherwise.name : flags.sort);
  if (!by) return by.error().with("--sort");
  view.by = *by;
  return view;
}

void run_top(const TopFlags& flags, Context& context) {
  log_to_stderr();
  spdlog::set_level(spdlog::level::warn);
  const auto every = parse_duration(flags.every);
  if (!every || *every < 200'000'000) {
    return context.fail("--every must be at least 200ms, for example 2s; \"" + flags.every + "\" is not");
  }
  uint64_t duration_ns = 0;
  if (!flags.duration.empty()) {
    const auto duration = parse_duration(flags.duration);
    if (!duration) return context.fail("--duration: " + duration.error().message());
    duration_ns = *duration;
  }
  std::vector<std::string> asked;
  auto view = view_of(flags, asked);
  if (!view) return context.fail(view.error().message());
  AgentOptions options;
  auto settings = flags.settings;
  settings["interval"] = flags.every;
  auto loaded = read_config(settings, flags.file, &options.inputs);
  if (!loaded) return context.fail(loaded.error().message());
  if (!may_load_programs()) {
    return context.fail("`sonde top` loads BPF programs: run it as root (sudo sonde top), or with BPF and PERFMON",
                        kFailed);
  }
  options.loaded = std::move(*loaded);
  if (!asked.empty()) {  // all that they can say, also what is asked by name only
    options.loaded.config.default_policy.probes = asked;
    options.loaded.config.default_policy.preset = Level::OptIn;
    // The others would be loaded for nothing.
    for (const ModuleEntry& entry : modules()) {
      const std::string name(entry.module->info().name);
      if (std::ranges::find(asked, name) == asked.end()) options.disabled_modules.insert(name);
    }
  }
  options.loaded.config.exports.to.clear();
  options.loaded.config.ceilings.min_period_ms = 100;
  options.servers = false;
  options.greet = false;
  if (is_terminal() && flags.format != "json" && !flags.once)
    spdlog::set_level(spdlog::level::off);  // it would be in the table
  const uint64_t started_ns = realtime_ns();
  auto agent = Agent::start(std::move(options));
  if (!agent) return context.fail(agent.error().message(), kFailed);
  struct sigaction action {};
  action.sa_handler = [](int) { interrupted = true; };
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  std::thread loop([&] { (*agent)->run(); });
  watch(**agent, std::move(*view), flags, started_ns, duration_ns);
  (*agent)->stop();
  loop.join();
}

}  // namespace

void add_top_command(CLI::App& app, Context& context) {
  auto* command = app.add_subcommand("top", "Live table of the activity of containers and cgroups");
  auto flags = std::make_shared<TopFlags>();
  command->add_option("--every", flags->every, "Refresh interval")->default_str("2s");
  command->add_option("--probe", flags->probes,
                      "Show the columns of these probes (see `sonde probes`), separated by commas; or all");
  command->add_option("--sort", flags->sort, "Column to sort by, with its name in -o json; or name");
  command->add_flag("--once", flags->once, "Print one table and exit");
  command->add_option("--duration", flags->duration, "Exit after this time");
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
