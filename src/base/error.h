// The one kind of error. An Error is a value with a stable code, a sentence, the chain of what was
// being done, a hint that says what to type next, and (for input files) a place.
// Rendered at the edge only: render_error() for people, error_to_json() for programs (base/json.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

namespace consort {

enum class ErrorCode : std::uint8_t {
#define CONSORT_ERROR(name, exit, http, meaning) name,
#include "base/error_codes.def"
#undef CONSORT_ERROR
};

[[nodiscard]] std::string_view error_code_name(ErrorCode code);
[[nodiscard]] std::optional<ErrorCode> error_code_from_name(std::string_view name);
[[nodiscard]] int error_exit_status(ErrorCode code);
[[nodiscard]] int error_http_status(ErrorCode code);
[[nodiscard]] std::string_view error_meaning(ErrorCode code);

// A place in an input file. Lines and columns count from 1; 0 means unknown.
struct SourceSpan {
  std::string file;
  int line = 0;
  int column = 0;
  std::string excerpt;  // the source line, without its end
  int length = 1;       // how many columns the caret line underlines
};

class [[nodiscard]] Error {
 public:
  Error(ErrorCode code, std::string message) : code_(code), message_(std::move(message)) {}

  // Each returns the error (by value: `error = std::move(error).hint(…)` must not assign it to
  // itself), so that calls chain: `return fail(...).hint("…")`.
  Error hint(std::string text) &&;
  Error at(SourceSpan span) &&;
  // What was being done, outermost added last: "while reading the inventory of class web".
  Error context(std::string text) &&;
  void add_context(std::string text);

  [[nodiscard]] ErrorCode code() const { return code_; }
  [[nodiscard]] const std::string& message() const { return message_; }
  [[nodiscard]] const std::string& hint_text() const { return hint_; }
  [[nodiscard]] const std::vector<std::string>& contexts() const { return contexts_; }
  [[nodiscard]] const std::optional<SourceSpan>& span() const { return span_; }

 private:
  ErrorCode code_;
  std::string message_;
  std::string hint_;
  std::vector<std::string> contexts_;
  std::optional<SourceSpan> span_;
};

template <class T>
using Result = tl::expected<T, Error>;
using Status = Result<void>;

// `return fail(ErrorCode::not_found, "no host 'web9'").hint("consort host list");`
class [[nodiscard]] Failure {
 public:
  explicit Failure(Error error) : error_(std::move(error)) {}
  Failure&& hint(std::string text) && {
    return error_ = std::move(error_).hint(std::move(text)), std::move(*this);
  }
  Failure&& at(SourceSpan span) && {
    return error_ = std::move(error_).at(std::move(span)), std::move(*this);
  }
  Failure&& context(std::string text) && {
    return error_.add_context(std::move(text)), std::move(*this);
  }
  template <class T>
  operator tl::expected<T,
                        Error>() && {  // NOLINT(google-explicit-constructor): that is its purpose
    return tl::unexpected<Error>(std::move(error_));
  }
  operator Error() && { return std::move(error_); }  // NOLINT(google-explicit-constructor)

 private:
  Error error_;
};

[[nodiscard]] inline Failure fail(ErrorCode code, std::string message) {
  return Failure(Error(code, std::move(message)));
}
[[nodiscard]] inline Failure fail(Error error) { return Failure(std::move(error)); }
// An io error from errno: "cannot open /x: Permission denied". ENOSPC and EACCES get their own
// hints.
[[nodiscard]] Failure fail_errno(int error_number, std::string what);

// "error: …", place with caret, contexts as "  while …", "  hint: …". Ends with a newline.
[[nodiscard]] std::string render_error(const Error& error);

}  // namespace consort

// TRY(expr): the value of a Result, or return its error from this function.
// TRYV(expr): the same for a Status. A GNU statement expression, known to g++ and clang. Never in
// braces after a member that owns memory, as in `Pair{std::string(a), TRY(b)}`: when the TRY
// returns, neither compiler destroys the member that is made already.
#define CONSORT_TRY_IMPL(tmp, ...)                                               \
  __extension__({                                                                \
    auto tmp = (__VA_ARGS__);                                                    \
    if (!tmp) return ::tl::unexpected<::consort::Error>(std::move(tmp).error()); \
    std::move(tmp).value();                                                      \
  })
#define CONSORT_CONCAT2(a, b) a##b
#define CONSORT_CONCAT(a, b) CONSORT_CONCAT2(a, b)
#define TRY(...) CONSORT_TRY_IMPL(CONSORT_CONCAT(try_result_, __COUNTER__), __VA_ARGS__)
#define TRYV(...)                                                                \
  do {                                                                           \
    if (auto tryv_result = (__VA_ARGS__); !tryv_result)                          \
      return ::tl::unexpected<::consort::Error>(std::move(tryv_result).error()); \
  } while (false)
