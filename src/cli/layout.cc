#include "cli/layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/text.h"

namespace consort::cli {
namespace {

constexpr std::size_t kNarrow = 24;       // a last column below this is no pleasure to read
constexpr std::size_t kContinuation = 4;  // indent of cells on lines of their own

bool begins_character(char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }

// The escape sequence that begins at `at`, or "".
std::string_view escape_at(std::string_view text, std::size_t at) {
  if (text[at] != '\x1b') return {};
  const std::size_t end = text.find('m', at);
  return text.substr(at, end == std::string_view::npos ? end : end - at + 1);
}

bool is_colour(std::string_view sequence) {
  return !sequence.empty() &&
         (sequence == kColourReset ||
          std::find(kColourCodes.begin(), kColourCodes.end(), sequence) != kColourCodes.end());
}

// How long the command is that begins with `text`, to be typed as it stands: "`consort plan`", or
// "consort plan" after a colon, up to the next mark or the end. 0: none begins here.
std::size_t command_at(std::string_view text, bool after_colon) {
  if (text.starts_with("`consort ")) {
    const std::size_t close = text.find('`', 1);
    return close == std::string_view::npos ? 0 : std::min(text.find(' ', close), text.size());
  }
  if (!after_colon || !text.starts_with("consort ")) return 0;
  std::size_t end = text.size();
  for (const std::string_view mark : {"; ", ", ", ": ", " ("}) end = std::min(end, text.find(mark));
  return std::min(text.size(), text.find(' ', end));  // with the mark itself
}

// Words and the spaces between them, in order; spaces are tokens of their own, and so are commands
// that have room in a line.
std::vector<std::string_view> tokens_of(std::string_view text, std::size_t room) {
  std::vector<std::string_view> out;
  bool after_colon = false;
  while (!text.empty()) {
    const bool space = text.front() == ' ';
    std::size_t end = std::min(text.size(), space ? text.find_first_not_of(' ') : text.find(' '));
    const std::size_t command = command_at(text, after_colon);
    if (command > end && display_width(text.substr(0, command)) <= room) end = command;
    out.push_back(text.substr(0, end));
    if (!space) after_colon = out.back().ends_with(':');
    text.remove_prefix(end);
  }
  return out;
}

class Wrapper {
 public:
  Wrapper(std::size_t width, std::size_t first_indent, std::string_view prefix)
      : width_(width), used_(first_indent), prefix_(prefix) {}

  std::string run(std::string_view text) {
    for (const std::string_view token : tokens_of(text, width_ - display_width(prefix_))) {
      if (token.front() == ' ') {
        pending_ = token.size();
      } else {
        place(token);
      }
    }
    return std::move(out_);
  }

 private:
  void place(std::string_view word) {
    const std::size_t wide = display_width(word);
    // What stands before the first line may leave too little room for even one word.
    const bool room_below = line_has_words_ || used_ > display_width(prefix_);
    if (room_below && used_ + pending_ + wide > width_) {
      break_line();
    } else {
      out_ += std::string(pending_, ' ');
      used_ += pending_;
    }
    pending_ = 0;
    for (std::size_t i = 0; i < word.size();) {
      if (const std::string_view escape = escape_at(word, i); !escape.empty()) {
        colour_ = escape == kColourReset ? std::string_view() : escape;
        out_ += escape;
        i += escape.size();
        continue;
      }
      if (begins_character(word[i]) && ++used_ > width_ && line_has_words_) {
        break_line();
        ++used_;
      }
      line_has_words_ = true;
      out_ += word[i++];
    }
  }

  void break_line() {
    if (!colour_.empty()) out_ += kColourReset;
    out_ += "\n";
    out_ += prefix_;
    out_ += colour_;
    used_ = display_width(prefix_);
    line_has_words_ = false;
  }

  std::size_t width_;
  std::size_t used_;
  std::string_view prefix_;
  std::size_t pending_ = 0;  // spaces before the next word
  bool line_has_words_ = false;
  std::string_view colour_;
  std::string out_;
};

std::string padded(const std::string& cell, std::size_t width) {
  const std::size_t wide = display_width(cell);
  return cell + std::string(width > wide ? width - wide : 0, ' ');
}

// The row in one line, its first `count` cells.
std::string in_one_line(const Cells& cells, std::size_t count,
                        const std::vector<std::size_t>& widths) {
  std::string out;
  std::size_t gap = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (cells[i].empty()) {
      gap += widths[i] + 2;
      continue;
    }
    out += std::string(gap, ' ') + cells[i];
    const std::size_t wide = display_width(cells[i]);
    gap = (widths[i] > wide ? widths[i] - wide : 0) + 2;
  }
  return out;
}

}  // namespace

std::string for_people(std::string_view text, Colours colours) {
  std::string out;
  std::size_t begun = 0;
  for (std::size_t at = text.find('\x1b'); at != std::string_view::npos;
       at = text.find('\x1b', at + 1)) {
    const std::string_view sequence = escape_at(text, at);
    if (!is_colour(sequence)) continue;
    out += printable(std::string(text.substr(begun, at - begun)), Lines::many);
    if (colours == Colours::ours) out += sequence;
    begun = at + sequence.size();
  }
  return out + printable(std::string(text.substr(begun)), Lines::many);
}

std::string shown_time(std::string_view at) {
  return parse_instant(at) ? std::string(at.substr(0, 19)) + "Z" : std::string(at);
}

std::string shown_time_of_day(std::string_view at) {
  return parse_instant(at) ? std::string(at.substr(11, 8)) + "Z" : std::string(at);
}

std::string shown_age(std::string_view at, Instant now) {
  const auto then = parse_instant(at);
  if (!then) return "";
  return human_duration(std::max(Duration{0}, std::chrono::duration_cast<Duration>(now - *then))) +
         " ago";
}

std::string shown_digest(std::string_view digest) {
  constexpr std::size_t prefix = 7;  // "sha256:"
  constexpr std::size_t shown = 12;
  return std::string(digest.size() > prefix + shown ? digest.substr(prefix, shown) : digest);
}

std::size_t display_width(std::string_view text) {
  std::size_t width = 0;
  for (std::size_t i = 0; i < text.size();) {
    if (const std::string_view escape = escape_at(text, i); !escape.empty()) {
      i += escape.size();
    } else {
      width += begins_character(text[i++]) ? 1 : 0;
    }
  }
  return width;
}

std::string shown_objects(std::size_t count, std::uint64_t bytes) {
  const auto size = static_cast<double>(bytes);
  return fmt::format("{} object{}, {}", count, count == 1 ? "" : "s",
                     bytes < 1'000       ? fmt::format("{} bytes", bytes)
                     : bytes < 1'000'000 ? fmt::format("{:.1f} kB", size / 1e3)
                                         : fmt::format("{:.1f} MB", size / 1e6));
}

std::string cut(std::string_view text, std::size_t width) {
  if (display_width(text) <= width) return std::string(text);
  std::string out;
  std::size_t used = 0;
  bool coloured = false;
  for (std::size_t i = 0; i < text.size();) {
    if (const std::string_view escape = escape_at(text, i); !escape.empty()) {
      coloured = true;
      out += escape;
      i += escape.size();
      continue;
    }
    if (begins_character(text[i]) && ++used >= width) break;
    out += text[i++];
  }
  return out + "…" + (coloured ? std::string(kColourReset) : "");
}

std::string wrap(std::string_view text, std::size_t width, std::size_t first_indent,
                 std::string_view prefix) {
  if (width == 0 || first_indent + display_width(text) <= width) return std::string(text);
  return Wrapper(std::max(width, display_width(prefix) + 8), first_indent, prefix).run(text);
}

std::string wrap_error(std::string_view rendered, std::size_t width) {
  std::string out;
  while (!rendered.empty()) {
    const std::size_t end = std::min(rendered.find('\n'), rendered.size());
    const std::string_view line = rendered.substr(0, end);
    const bool excerpt = line.starts_with("   ") || line.starts_with("  -->");
    const std::string_view below = line.starts_with("  hint: ") ? "        "
                                   : line.starts_with("  ")     ? "    "
                                                                : "  ";
    out += excerpt ? std::string(line) : wrap(line, width, 0, below);
    out += "\n";
    rendered.remove_prefix(std::min(rendered.size(), end + 1));
  }
  return out;
}

std::vector<std::size_t> column_widths(const std::vector<Cells>& rows) {
  std::vector<std::size_t> widths;
  for (const Cells& row : rows) {
    if (widths.size() < row.size()) widths.resize(row.size(), 0);
    for (std::size_t i = 0; i < row.size(); ++i)
      widths[i] = std::max(widths[i], display_width(row[i]));
  }
  return widths;
}

std::string lay_row(const Cells& cells, const std::vector<std::size_t>& widths, std::size_t width,
                    std::size_t indent) {
  const std::string margin(indent, ' ');
  const std::string line = margin + in_one_line(cells, cells.size(), widths);
  if (width == 0 || display_width(line) <= width) return line + "\n";
  const std::size_t last = cells.size() - 1;
  std::size_t before = indent;
  for (std::size_t i = 0; i < last; ++i) before += widths[i] + 2;
  if (before + kNarrow <= width) {
    std::string out = margin;
    for (std::size_t i = 0; i < last; ++i) out += padded(cells[i], widths[i]) + "  ";
    return out + wrap(cells[last], width, before, std::string(before, ' ')) + "\n";
  }
  std::size_t fits = 0;
  for (std::size_t end = indent; fits < last && end + widths[fits] <= width; ++fits)
    end += widths[fits] + 2;
  fits = std::max<std::size_t>(1, fits);
  std::string rest;
  for (std::size_t i = fits; i < cells.size(); ++i)
    rest += (rest.empty() || cells[i].empty() ? "" : "  ") + cells[i];
  std::string out = margin + in_one_line(cells, fits, widths) + "\n";
  const std::string deeper(indent + kContinuation, ' ');
  if (!rest.empty()) out += deeper + wrap(rest, width, deeper.size(), deeper) + "\n";
  return out;
}

}  // namespace consort::cli
