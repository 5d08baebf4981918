#include "base/error.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>

namespace consort {
namespace {

struct CodeRow {
  std::string_view name;
  int exit;
  int http;
  std::string_view meaning;
};

constexpr std::array kCodes = {
#define CONSORT_ERROR(name, exit, http, meaning) CodeRow{#name, exit, http, meaning},
#include "base/error_codes.def"
#undef CONSORT_ERROR
};

const CodeRow& row(ErrorCode code) { return kCodes.at(static_cast<std::size_t>(code)); }

}  // namespace

std::string_view error_code_name(ErrorCode code) { return row(code).name; }
int error_exit_status(ErrorCode code) { return row(code).exit; }
int error_http_status(ErrorCode code) { return row(code).http; }
std::string_view error_meaning(ErrorCode code) { return row(code).meaning; }

std::optional<ErrorCode> error_code_from_name(std::string_view name) {
  for (std::size_t i = 0; i < kCodes.size(); ++i) {
    if (kCodes.at(i).name == name) return static_cast<ErrorCode>(i);
  }
  return std::nullopt;
}

Error Error::hint(std::string text) && {
  hint_ = std::move(text);
  return std::move(*this);
}

Error Error::at(SourceSpan span) && {
  span_ = std::move(span);
  return std::move(*this);
}

Error Error::context(std::string text) && {
  contexts_.push_back(std::move(text));
  return std::move(*this);
}

void Error::add_context(std::string text) { contexts_.push_back(std::move(text)); }

Failure fail_errno(int error_number, std::string what) {
  const std::string reason = std::generic_category().message(error_number);
  Error error(error_number == ENOENT ? ErrorCode::not_found : ErrorCode::io,
              fmt::format("{}: {}", what, reason));
  switch (error_number) {
    case ENOSPC:
    case EDQUOT:
      return Failure(std::move(error).hint(
          "free space on that file system, then run the same command again; nothing was changed"));
    case EACCES:
    case EPERM:
      return Failure(std::move(error).hint("check the owner and mode, or run as a user who may"));
    case EADDRINUSE:
      return Failure(
          std::move(error).hint("another program listens there; choose another --listen address"));
    default:
      return Failure(std::move(error));
  }
}

std::string render_error(const Error& error) {
  std::string out = fmt::format("error: {}\n", error.message());
  if (const auto& span = error.span()) {
    out += fmt::format("  --> {}", span->file);
    if (span->line > 0) out += fmt::format(":{}", span->line);
    if (span->line > 0 && span->column > 0) out += fmt::format(":{}", span->column);
    out += '\n';
    if (!span->excerpt.empty() && span->line > 0) {
      const std::string number = std::to_string(span->line);
      const std::string margin(number.size(), ' ');
      out += fmt::format("   {} |\n   {} | {}\n", margin, number, span->excerpt);
      if (span->column > 0) {
        // Tabs stay tabs, so that the caret stands below the place on every terminal.
        std::string pad;
        for (std::size_t i = 0;
             i + 1 < static_cast<std::size_t>(span->column) && i < span->excerpt.size(); ++i) {
          pad += span->excerpt[i] == '\t' ? '\t' : ' ';
        }
        out += fmt::format("   {} | {}{}\n", margin, pad,
                           std::string(static_cast<std::size_t>(std::max(1, span->length)), '^'));
      }
    }
  }
  for (const std::string& context : error.contexts()) out += fmt::format("  {}\n", context);
  if (!error.hint_text().empty()) out += fmt::format("  hint: {}\n", error.hint_text());
  return out;
}

}  // namespace consort
