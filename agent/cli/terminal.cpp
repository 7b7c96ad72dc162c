// SPDX-License-Identifier: Apache-2.0
#include "agent/cli/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include <spdlog/fmt/fmt.h>

namespace sonde::cli {
namespace {

// Characters, not bytes: continuation bytes of UTF-8 take no column.
std::size_t width_of(const std::string& text) {
  return static_cast<std::size_t>(std::ranges::count_if(text, [](char c) { return (c & 0xC0) != 0x80; }));
}

std::string padded(const std::string& text, std::size_t width, bool right) {
  const std::size_t have = width_of(text);
  if (have >= width) return text;
  const std::string space(width - have, ' ');
  return right ? space + text : text + space;
}

// Keeps the end, which tells more of a path than its beginning.
std::string shortened(const std::string& text, std::size_t width) {
  if (width_of(text) <= width || width < 4) return text;
  return "..." + text.substr(text.size() - std::min(text.size(), width - 3));
}

std::string scaled(double value, double step, std::initializer_list<const char*> units) {
  auto unit = units.begin();
  while (value >= step * 0.9995 && unit + 1 != units.end()) {
    value /= step;
    ++unit;
  }
  return fmt::format("{:.{}f}{}{}", value, value < 10 && unit != units.begin() ? 1 : 0, **unit ? " " : "", *unit);
}

}  // namespace

bool is_terminal(std::FILE* stream) { return isatty(fileno(stream)) == 1; }

std::string paint(Colour colour, const std::string& text, std::FILE* stream) {
  static const char* const kCodes[] = {"", "31", "32", "33", "90", "1"};
  if (colour == Colour::None || !is_terminal(stream) || std::getenv("NO_COLOR")) return text;
  return std::string("\x1b[") + kCodes[static_cast<int>(colour)] + "m" + text + "\x1b[0m";
}

TerminalSize terminal_size() {
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return {};
  return {size.ws_col, size.ws_row};
}

void Table::add(std::vector<std::string> cells, Colour colour) {
  cells.resize(columns_.size());
  rows_.push_back({std::move(cells), colour});
}

std::string Table::text(int width) const {
  std::vector<std::size_t> widths;
  for (const Column& column : columns_) widths.push_back(width_of(column.title));
  for (const Row& row : rows_) {
    for (std::size_t i = 0; i < widths.size(); ++i) widths[i] = std::max(widths[i], width_of(row.cells[i]));
  }
  std::size_t total = 2 * (widths.size() - 1);
  for (const std::size_t w : widths) total += w;
  if (width > 0 && total > static_cast<std::size_t>(width)) {
    const std::size_t over = total - static_cast<std::size_t>(width);
    widths[0] = widths[0] > over + 12 ? widths[0] - over : std::min<std::size_t>(widths[0], 12);
  }
  std::string text;
  const auto add_line = [&](const std::vector<std::string>& cells, Colour colour) {
    std::string line;
    for (std::size_t i = 0; i < cells.size(); ++i) {
      const std::string cell = i == 0 ? shortened(cells[i], widths[0]) : cells[i];
      line += (i ? "  " : "") + padded(cell, widths[i], columns_[i].number);
    }
    while (line.ends_with(' ')) line.pop_back();
    text += paint(colour, line) + "\n";
  };
  std::vector<std::string> titles;
  for (const Column& column : columns_) titles.push_back(column.title);
  add_line(titles, Colour::Bold);
  for (const Row& row : rows_) add_line(row.cells, row.colour);
  return text;
}

std::string bytes_text(double bytes) { return scaled(bytes, 1024, {"B", "KiB", "MiB", "GiB", "TiB"}); }

std::string count_text(double count) { return scaled(count, 1000, {"", "k", "M", "G", "T"}); }

std::string seconds_text(double seconds) {
  if (seconds >= 1) return fmt::format("{:.{}f} s", seconds, seconds < 10 ? 2 : 1);
  return scaled(seconds * 1e9, 1000, {"ns", "us", "ms"});
}

}  // namespace sonde::cli
