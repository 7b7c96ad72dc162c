// SPDX-License-Identifier: Apache-2.0
// A value or an error that must be checked. Errors are messages for the user; callers prepend context:
//
//   Result<Fd> opened = open_file(path);
//   if (!opened) return opened.error().with("cannot read the policy");
//   use(*opened);
#pragma once

#include <string>
#include <utility>
#include <variant>

namespace sonde {

class [[nodiscard]] Error {
 public:
  explicit Error(std::string message) : message_(std::move(message)) {}
  // Appends the text of `errno_value`.
  static Error system(std::string message, int errno_value);

  const std::string& message() const { return message_; }
  Error with(const std::string& context) const { return Error(context + ": " + message_); }

 private:
  std::string message_;
};

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::move(value)) {}      // NOLINT(google-explicit-constructor)
  Result(Error error) : state_(std::move(error)) {}  // NOLINT(google-explicit-constructor)

  explicit operator bool() const { return std::holds_alternative<T>(state_); }
  T& operator*() & { return std::get<T>(state_); }
  const T& operator*() const& { return std::get<T>(state_); }
  T&& operator*() && { return std::get<T>(std::move(state_)); }
  T* operator->() { return &std::get<T>(state_); }
  const T* operator->() const { return &std::get<T>(state_); }
  const Error& error() const { return std::get<Error>(state_); }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)), failed_(true) {}  // NOLINT(google-explicit-constructor)

  explicit operator bool() const { return !failed_; }
  const Error& error() const { return error_; }

 private:
  Error error_{std::string()};
  bool failed_ = false;
};

}  // namespace sonde
