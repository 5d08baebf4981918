#include "agent/supervisors/environment_file.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "crypto/secret.h"

namespace consort::agent {
namespace {

Failure bad(std::size_t line, std::string_view why) {
  return fail(ErrorCode::invalid_input, fmt::format("line {}: {}", line, why))
      .hint("write NAME=VALUE lines; quote what is odd: ${shell:secret.NAME}");
}

// Values may be secrets: no shorter copy stays where it was.
void append(std::string& text, char c) {
  if (text.size() == text.capacity()) {
    std::string larger;
    larger.reserve(2 * text.capacity());
    larger.append(text);
    crypto::wipe(text);
    text = std::move(larger);
  }
  text += c;
}

// Takes the value from `text` at `at`, up to and with the end of its line.
Result<std::string> take_value(std::string_view text, std::size_t& at, std::size_t& line) {
  std::string out;
  std::size_t solid = 0;  // what is quoted keeps its blanks
  char quote = '\0';
  const std::size_t begun = line;
  for (; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '\n') ++line;
    if (quote == '\0' && c == '\n') break;
    if (c == '\\' && quote != '\'') {
      if (++at == text.size()) return bad(begun, "it ends with a backslash");
      if (text[at] == '\n') {
        ++line;  // the line goes on
        continue;
      }
      append(out, text[at]);
      solid = out.size();
    } else if (quote != '\0' && c == quote) {
      quote = '\0';
      solid = out.size();
    } else if (quote == '\0' && (c == '\'' || c == '"')) {
      quote = c;
    } else if (quote != '\0' || !out.empty() || (c != ' ' && c != '\t')) {
      append(out, c);
      if (quote != '\0' || (c != ' ' && c != '\t' && c != '\r')) solid = out.size();
    }
  }
  if (at < text.size()) ++at;
  if (quote != '\0') return bad(begun, "a quote is not closed");
  out.resize(solid);
  if (out.find('\0') != std::string::npos) return bad(begun, "a value with a NUL byte");
  return out;
}

}  // namespace

Result<std::map<std::string, std::string>> parse_environment_file(std::string_view text) {
  std::map<std::string, std::string> out;
  std::size_t at = 0;
  std::size_t line = 1;
  while (at < text.size()) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view whole = trim(text.substr(at, end - at));
    if (whole.empty() || whole[0] == '#' || whole[0] == ';') {
      at = end + 1;
      ++line;
      continue;
    }
    const std::size_t equals = text.find('=', at);
    if (equals >= end) return bad(line, "there is no '=' in it");
    const std::string name(trim(text.substr(at, equals - at)));
    if (!is_variable_name(name))
      return bad(line, "what stands before the '=' is no name of a variable");
    at = equals + 1;
    out.insert_or_assign(name, TRY(take_value(text, at, line)));
  }
  return out;
}

}  // namespace consort::agent
