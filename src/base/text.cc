#include "base/text.h"

#include <fmt/format.h>
#include <fnmatch.h>

#include <algorithm>
#include <cctype>
#include <cstdint>

namespace consort {

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> out;
  std::size_t start = 0;
  while (true) {
    const std::size_t end = text.find(separator, start);
    out.emplace_back(text.substr(start, end == std::string_view::npos ? end : end - start));
    if (end == std::string_view::npos) return out;
    start = end + 1;
  }
}

std::string_view trim(std::string_view text) {
  const auto space = [](char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; };
  while (!text.empty() && space(text.front())) text.remove_prefix(1);
  while (!text.empty() && space(text.back())) text.remove_suffix(1);
  return text;
}

std::string join(const std::vector<std::string>& parts, std::string_view separator) {
  return fmt::format("{}", fmt::join(parts, separator));
}

std::string last_lines(std::string_view text, std::size_t lines) {
  while (!text.empty() && text.back() == '\n') text.remove_suffix(1);
  if (lines == 0) return "";
  std::size_t start = text.size();
  for (std::size_t seen = 0; start > 0; --start) {
    if (text[start - 1] == '\n' && ++seen == lines) break;
  }
  return std::string(text.substr(start));
}

bool is_name(std::string_view text) {
  if (text.empty() || text.size() > 63 ||
      std::isalnum(static_cast<unsigned char>(text.front())) == 0)
    return false;
  return std::all_of(text.begin(), text.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_' || c == '.';
  });
}

bool is_variable_name(std::string_view text) {
  const auto is_word = [](unsigned char c) { return std::isalnum(c) != 0 || c == '_'; };
  return !text.empty() && std::isdigit(static_cast<unsigned char>(text.front())) == 0 &&
         std::all_of(text.begin(), text.end(), is_word);
}

std::string plain_path(std::string_view path) {
  std::string out;
  const bool absolute = path.starts_with('/');
  for (const std::string& part : split(path, '/')) {
    if (part.empty() || part == ".") continue;
    if (absolute || !out.empty()) out += '/';
    out += part;
  }
  return out.empty() && absolute ? std::string("/") : out;
}

namespace {

// Bytes of the well-formed character that this begins with; 0 when there is none.
std::size_t character_length(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  const std::size_t length = lead < 0x80                   ? 1
                             : lead >= 0xC2 && lead < 0xE0 ? 2
                             : lead >= 0xE0 && lead < 0xF0 ? 3
                             : lead >= 0xF0 && lead < 0xF5 ? 4
                                                           : 0;
  if (length == 0 || length > text.size()) return 0;
  unsigned code = length == 1 ? lead : lead & (0xFFU >> (length + 1));
  for (std::size_t k = 1; k < length; ++k) {
    const auto next = static_cast<unsigned char>(text[k]);
    if ((next & 0xC0U) != 0x80U) return 0;
    code = (code << 6U) | (next & 0x3FU);
  }
  const bool overlong = (length == 3 && code < 0x800) || (length == 4 && code < 0x10000);
  return overlong || (code >= 0xD800 && code < 0xE000) || code > 0x10FFFF ? 0 : length;
}

// One of U+2028 to U+202E and U+2066 to U+2069.
bool turns_writing(std::string_view character) {
  const auto last = static_cast<unsigned char>(character[2]);
  return (character.starts_with("\xe2\x80") && last >= 0xa8 && last <= 0xae) ||
         (character.starts_with("\xe2\x81") && last >= 0xa6 && last <= 0xa9);
}

}  // namespace

std::string printable(std::string text, Lines lines) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = character_length(std::string_view(text).substr(at));
    const std::string_view character = std::string_view(text).substr(at, std::max(length, 1UL));
    const auto first = static_cast<unsigned char>(character.front());
    if (first == '\n') {
      if (lines == Lines::one) text[at] = ' ';
    } else if (length == 0 || (first < 0x20 && first != '\t') || first == 0x7f) {
      text[at] = '?';
    } else if (length == 2 && first == 0xc2 && static_cast<unsigned char>(character[1]) < 0xa0) {
      // U+00BF, so that it stays UTF-8.
      text[at + 1] = '\xbf';
    } else if (length == 3 && turns_writing(character)) {
      text.replace(at, length, "\xef\xbf\xbd");
    }
    at += std::max(length, 1UL);
  }
  return text;
}

namespace {

constexpr std::string_view kMore = "…";
// Of UTF-8: a byte that begins no character.
bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xc0U) == 0x80; }

}  // namespace

std::string beginning_of(std::string text, std::size_t most) {
  if (text.size() <= most) return text;
  std::size_t end = most - std::min(most, kMore.size());
  while (end > 0 && is_continuation(text[end])) --end;
  text.resize(end);
  return most < kMore.size() ? text : text.append(kMore);
}

std::string end_of(std::string text, std::size_t most) {
  if (text.size() <= most) return text;
  std::size_t begin = text.size() - (most - std::min(most, kMore.size()));
  while (begin < text.size() && is_continuation(text[begin])) ++begin;
  text.erase(0, begin);
  return most < kMore.size() ? text : text.insert(0, kMore);
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1);
  std::vector<std::size_t> last(b.size() + 1);
  std::vector<std::size_t> now(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    now[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t cost = a[i - 1] == b[j - 1] ? 0 : 1;
      now[j] = std::min({last[j] + 1, now[j - 1] + 1, last[j - 1] + cost});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        now[j] = std::min(now[j], before[j - 2] + 1);
    }
    std::swap(before, last);
    std::swap(last, now);
  }
  return last[b.size()];
}

std::string closest(std::string_view wanted, const std::vector<std::string_view>& candidates) {
  std::string best;
  std::size_t best_distance = std::max<std::size_t>(1, wanted.size() / 3) + 1;
  for (const std::string_view candidate : candidates) {
    if (wanted.size() > 64 || candidate.size() > 64) continue;
    const std::size_t distance = edit_distance(wanted, candidate);
    if (distance < best_distance) {
      best_distance = distance;
      best = std::string(candidate);
    }
  }
  return best;
}

namespace {

struct DiffLine {
  char mark;
  std::string_view text;
};

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> out;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    out.push_back(text.substr(0, end));
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return out;
}

// Longest common subsequence by table; the callers' limit keeps it small.
std::vector<DiffLine> diff_lines(const std::vector<std::string_view>& a,
                                 const std::vector<std::string_view>& b) {
  const std::size_t width = b.size() + 1;
  std::vector<std::uint16_t> lcs((a.size() + 1) * width);
  for (std::size_t i = a.size(); i-- > 0;) {
    for (std::size_t j = b.size(); j-- > 0;) {
      lcs[i * width + j] = a[i] == b[j]
                               ? static_cast<std::uint16_t>(lcs[(i + 1) * width + j + 1] + 1)
                               : std::max(lcs[(i + 1) * width + j], lcs[i * width + j + 1]);
    }
  }
  std::vector<DiffLine> out;
  std::size_t i = 0;
  std::size_t j = 0;
  while (i < a.size() || j < b.size()) {
    if (i < a.size() && j < b.size() && a[i] == b[j]) {
      out.push_back({' ', a[i++]});
      ++j;
    } else if (i < a.size() &&
               (j == b.size() || lcs[(i + 1) * width + j] >= lcs[i * width + j + 1])) {
      out.push_back({'-', a[i++]});
    } else {
      out.push_back({'+', b[j++]});
    }
  }
  return out;
}

}  // namespace

std::string unified_diff(std::string_view before, std::string_view after) {
  if (before == after) return "";
  const auto a = lines_of(before);
  const auto b = lines_of(after);
  if (a.size() > 2000 || b.size() > 2000)
    return fmt::format("@@ {} lines before, {} lines after @@\n", a.size(), b.size());
  const std::vector<DiffLine> lines = diff_lines(a, b);
  constexpr std::size_t kContext = 3;
  std::vector<bool> shown(lines.size(), false);
  for (std::size_t k = 0; k < lines.size(); ++k) {
    if (lines[k].mark == ' ') continue;
    for (std::size_t n = k >= kContext ? k - kContext : 0;
         n < std::min(lines.size(), k + kContext + 1); ++n)
      shown[n] = true;
  }
  std::string out;
  std::size_t line_a = 1;
  std::size_t line_b = 1;
  for (std::size_t k = 0; k < lines.size(); ++k) {
    if (shown[k]) {
      if (k == 0 || !shown[k - 1]) out += fmt::format("@@ -{} +{} @@\n", line_a, line_b);
      out += fmt::format("{}{}\n", lines[k].mark, lines[k].text);
    }
    if (lines[k].mark != '+') ++line_a;
    if (lines[k].mark != '-') ++line_b;
  }
  if (out.empty()) out = "@@ only the final newline differs @@\n";
  return out;
}

bool glob_match(std::string_view pattern, std::string_view text) {
  return fnmatch(std::string(pattern).c_str(), std::string(text).c_str(), 0) == 0;
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t length = character_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

}  // namespace consort
