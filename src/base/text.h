// Small text functions that several rooms need.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace consort {

[[nodiscard]] std::vector<std::string> split(std::string_view text, char separator);
[[nodiscard]] std::string_view trim(std::string_view text);
[[nodiscard]] std::string join(const std::vector<std::string>& parts, std::string_view separator);
// The last `lines` lines, without a trailing newline.
[[nodiscard]] std::string last_lines(std::string_view text, std::size_t lines);
// [a-zA-Z0-9._-], starts with a letter or digit, 1 to 63 characters: names of hosts, services,
// classes.
[[nodiscard]] bool is_name(std::string_view text);
// Of the environment: [A-Za-z_][A-Za-z0-9_]*
[[nodiscard]] bool is_variable_name(std::string_view text);
// A path as it is compared: without ".", doubled '/' and one at the end. ".." stays: what it means
// depends on links.
[[nodiscard]] std::string plain_path(std::string_view path);
// Well-formed UTF-8 (RFC 3629: no overlong forms, no surrogates).
[[nodiscard]] bool is_utf8(std::string_view text);
// Text that somebody else wrote, so that it steers no terminal. Control characters, and bytes that
// are no UTF-8, become '?'; those from U+0080 to U+009F an inverted one, separators of lines and
// what turns the direction of writing U+FFFD (each has as many bytes). Tabs stay; so do newlines of
// `many`, else they become spaces.
enum class Lines : std::uint8_t { one, many };
[[nodiscard]] std::string printable(std::string text, Lines lines);
// At most `most` bytes of a text, in whole characters, with "…" where the rest is left out. Texts
// of others are kept so: what is not bounded where it comes in is not bounded anywhere.
[[nodiscard]] std::string beginning_of(std::string text, std::size_t most);
[[nodiscard]] std::string end_of(std::string text, std::size_t most);
// Restricted Damerau-Levenshtein distance.
[[nodiscard]] std::size_t edit_distance(std::string_view a, std::string_view b);
[[nodiscard]] std::string closest(std::string_view wanted,
                                  const std::vector<std::string_view>& candidates);
// The candidate that is close enough to be what was meant, or "".
template <class Range>
[[nodiscard]] std::string did_you_mean(std::string_view wanted, const Range& candidates) {
  std::vector<std::string_view> views;
  for (const auto& candidate : candidates) {
    if constexpr (requires { candidate.first; }) {
      views.emplace_back(candidate.first);
    } else {
      views.emplace_back(candidate);
    }
  }
  return closest(wanted, views);
}
// Unified diff body (lines with ' ', '-', '+', and "@@" headers), three lines of context; "" when
// equal. Inputs above 2000 lines are summed up in one line instead.
[[nodiscard]] std::string unified_diff(std::string_view before, std::string_view after);
// Shell-style glob over one string: * ? [set]; no special treatment of '/'.
[[nodiscard]] bool glob_match(std::string_view pattern, std::string_view text);

}  // namespace consort
