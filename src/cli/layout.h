// Text laid out for a width: pure, so that what a terminal of 60 columns shows can be tested.
// Widths are in columns; escape sequences and UTF-8 continuation bytes take none. A width of 0
// means that nothing is ever wrapped: pipes and files.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"

namespace consort::cli {

// As terminals understand them (ECMA-48, SGR), in the order of Colour (terminal.h); "" for plain.
inline constexpr std::array<std::string_view, 8> kColourCodes = {
    "", "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[34m", "\x1b[36m"};
inline constexpr std::string_view kColourReset = "\x1b[0m";

// What goes to people: whatever else could steer a terminal becomes '?' (printable()), since much
// of what is shown was written by others: messages, names, what hosts say. Our colours stay where
// there are any, and are left out elsewhere.
enum class Colours : std::uint8_t { none, ours };
[[nodiscard]] std::string for_people(std::string_view text, Colours colours);

[[nodiscard]] std::size_t display_width(std::string_view text);

// For people, to the second, of an RFC 3339 time in UTC: "2026-11-21T12:00:00Z", "12:00:00Z". The
// zone is always said. What is no such time stays as it is.
[[nodiscard]] std::string shown_time(std::string_view at);
[[nodiscard]] std::string shown_time_of_day(std::string_view at);
// How long ago that was: "2.0 s ago"; "" of what is no such time.
[[nodiscard]] std::string shown_age(std::string_view at, Instant now);
// Of "sha256:…", what tells it from others; any other short text as it is.
[[nodiscard]] std::string shown_digest(std::string_view digest);

// "1 object, 300 bytes", "2 objects, 3.1 MB".
[[nodiscard]] std::string shown_objects(std::size_t count, std::uint64_t bytes);

// At most `width` columns, with an ellipsis where something was left out.
[[nodiscard]] std::string cut(std::string_view text, std::size_t width);

// Breaks at spaces (inside a word only where it is longer than a line; in a command that is to be
// typed, as "see: consort plan" or `consort plan`, only where that is). The first line has room for
// `width - first_indent` columns, because something stands before it already; the others begin with
// `prefix`. Colours go on over the breaks.
[[nodiscard]] std::string wrap(std::string_view text, std::size_t width, std::size_t first_indent,
                               std::string_view prefix);

// What render_error() made, its lines wrapped; places and excerpts of input files stay as they are.
[[nodiscard]] std::string wrap_error(std::string_view rendered, std::size_t width);

using Cells = std::vector<std::string>;
// As wide as the widest cell of each column. The last column needs no width.
[[nodiscard]] std::vector<std::size_t> column_widths(const std::vector<Cells>& rows);

// One row, `indent` columns from the left, two spaces between columns, without trailing spaces.
// Where it does not fit, its last cell is wrapped with a hanging indent; where that would be
// narrow, the cells that do not fit go to lines of their own.
[[nodiscard]] std::string lay_row(const Cells& cells, const std::vector<std::size_t>& widths,
                                  std::size_t width, std::size_t indent = 0);

}  // namespace consort::cli
