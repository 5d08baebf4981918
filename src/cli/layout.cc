#include "cli/layout.h"

#include <algorithm>
#include <utility>

namespace consort::cli {
namespace {

constexpr std::size_t kNarrow = 24;       // a last column below this is no pleasure to read
constexpr std::size_t kContinuation = 4;  // indent of cells on lines of their own
constexpr std::string_view kReset = "\x1b[0m";

bool begins_character(char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }

// The escape sequence that begins at `at`, or "".
std::string_view escape_at(std::string_view text, std::size_t at) {
  if (text[at] != '\x1b') return {};
  const std::size_t end = text.find('m', at);
  return text.substr(at, end == std::string_view::npos ? end : end - at + 1);
}

// Words and the spaces between them, in order; spaces are tokens of their own.
std::vector<std::string_view> tokens_of(std::string_view text) {
  std::vector<std::string_view> out;
  while (!text.empty()) {
    const bool space = text.front() == ' ';
    const std::size_t end = space ? text.find_first_not_of(' ') : text.find(' ');
    out.push_back(text.substr(0, end));
    text.remove_prefix(std::min(text.size(), end));
  }
  return out;
}

class Wrapper {
 public:
  Wrapper(std::size_t width, std::size_t first_indent, std::string_view prefix)
      : width_(width), used_(first_indent), prefix_(prefix) {}

  std::string run(std::string_view text) {
    for (const std::string_view token : tokens_of(text)) {
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
    if (line_has_words_ && used_ + pending_ + wide > width_) {
      break_line();
    } else {
      out_ += std::string(pending_, ' ');
      used_ += pending_;
    }
    pending_ = 0;
    for (std::size_t i = 0; i < word.size();) {
      if (const std::string_view escape = escape_at(word, i); !escape.empty()) {
        colour_ = escape == kReset ? std::string_view() : escape;
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
    if (!colour_.empty()) out_ += kReset;
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
  return out + "…" + (coloured ? std::string(kReset) : "");
}

std::string wrap(std::string_view text, std::size_t width, std::size_t first_indent,
                 std::string_view prefix) {
  if (width == 0 || first_indent + display_width(text) <= width) return std::string(text);
  return Wrapper(std::max(width, display_width(prefix) + 8), first_indent, prefix).run(text);
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
