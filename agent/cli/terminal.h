// SPDX-License-Identifier: Apache-2.0
// Words and tables for people: aligned columns, colours only on terminals.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

namespace sonde::cli {

enum class Colour : uint8_t { None, Red, Green, Yellow, Grey, Bold };

// With colour if the stream is a terminal and NO_COLOR is not set.
std::string paint(Colour colour, const std::string& text, std::FILE* stream = stdout);
bool is_terminal(std::FILE* stream = stdout);
// Columns and rows of the terminal; 80 and 24 where it cannot be asked.
struct TerminalSize {
  int columns = 80;
  int rows = 24;
};
TerminalSize terminal_size();

// A table whose columns are as wide as they must be. Numbers (as marked) stand to the right.
class Table {
 public:
  struct Column {
    std::string title;
    bool number = false;
  };
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  void add(std::vector<std::string> cells, Colour colour = Colour::None);
  // At most `width` columns wide (0: as wide as it is): the first column is shortened.
  std::string text(int width = 0) const;

 private:
  struct Row {
    std::vector<std::string> cells;
    Colour colour;
  };
  std::vector<Column> columns_;
  std::vector<Row> rows_;
};

// 1536 → "1.5 KiB"; 0.0000123 → "12.3 us"; 12345 → "12.3 k".
std::string bytes_text(double bytes);
std::string seconds_text(double seconds);
std::string count_text(double count);

}  // namespace sonde::cli
