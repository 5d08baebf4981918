// Text laid out for a width: pure, so that what a terminal of 60 columns shows can be tested.
// Widths are in columns; escape sequences and UTF-8 continuation bytes take none. A width of 0
// means that nothing is ever wrapped: pipes and files.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace consort::cli {

[[nodiscard]] std::size_t display_width(std::string_view text);

// At most `width` columns, with an ellipsis where something was left out.
[[nodiscard]] std::string cut(std::string_view text, std::size_t width);

// Breaks at spaces (inside a word only where it is longer than a line). The first line has room for
// `width - first_indent` columns, because something stands before it already; the others begin with
// `prefix`. Colours go on over the breaks.
[[nodiscard]] std::string wrap(std::string_view text, std::size_t width, std::size_t first_indent,
                               std::string_view prefix);

using Cells = std::vector<std::string>;
// As wide as the widest cell of each column. The last column needs no width.
[[nodiscard]] std::vector<std::size_t> column_widths(const std::vector<Cells>& rows);

// One row, `indent` columns from the left, two spaces between columns, without trailing spaces.
// Where it does not fit, its last cell is wrapped with a hanging indent; where that would be
// narrow, the cells that do not fit go to lines of their own.
[[nodiscard]] std::string lay_row(const Cells& cells, const std::vector<std::size_t>& widths,
                                  std::size_t width, std::size_t indent = 0);

}  // namespace consort::cli
