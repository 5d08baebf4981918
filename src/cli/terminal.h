// What the CLI prints: colour only on a terminal, NO_COLOR obeyed; one live block of lines that is
// redrawn on a terminal and is plain lines elsewhere. Not thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace consort::cli {

enum class Colour : std::uint8_t { plain, bold, dim, red, green, yellow, blue, cyan };

// Written at once and completely; a closed pipe ends the program quietly, as other programs do.
// What could steer a terminal is taken out (for_people() in layout.h).
void print(std::string_view text);
void print_to_stderr(std::string_view text);
// Error io, when something that was printed could not be written: the program must not end well.
[[nodiscard]] Status check_output();
// For people, as wide as the terminal; into a pipe nothing is wrapped.
void print_error(const Error& error);
void print_as_data();  // --json: what stdout gets is for programs, and stays as it is

[[nodiscard]] bool stdout_is_terminal();
[[nodiscard]] bool stderr_is_terminal();
[[nodiscard]] bool stdin_is_terminal();
// One line of standard input, at most 64 KiB, without its end; not echoed on a terminal. Error io.
[[nodiscard]] Result<std::string> read_secret_line();
// Asks for a yes at the terminal, below all that was printed, also where a program in between shows
// that (`| tee log`). What was typed before the question was seen is no answer to it. Error
// refused: nobody is at a terminal.
[[nodiscard]] Result<bool> ask_person(std::string_view question);
void forbid_colour();  // --no-color
// The text in that colour when stdout (or stderr) shows colours, else as it is.
[[nodiscard]] std::string paint(Colour colour, std::string_view text);
[[nodiscard]] std::string paint_for_stderr(Colour colour, std::string_view text);
[[nodiscard]] std::size_t terminal_width();  // of stderr; 100 where it is none
[[nodiscard]] std::size_t output_width();    // of stdout; 0, which wraps nothing, where it is none

// Columns as wide as their content, fitted to the terminal, or to `width` (layout.h); the first row
// is the header when `header`.
enum class Header : std::uint8_t { yes, no };
[[nodiscard]] std::string table(const std::vector<std::vector<std::string>>& rows,
                                Header header = Header::yes);
[[nodiscard]] std::string table(const std::vector<std::vector<std::string>>& rows, Header header,
                                std::size_t width);

// A block at the bottom of the terminal that is redrawn; lines above it scroll. Without a terminal,
// or on a dumb one, only the lines are printed. On stderr.
class LiveBlock {
 public:
  LiveBlock();
  ~LiveBlock();
  LiveBlock(const LiveBlock&) = delete;
  LiveBlock& operator=(const LiveBlock&) = delete;
  [[nodiscard]] bool live() const { return live_; }
  void line(std::string_view text);                  // a lasting line above the block
  void draw(const std::vector<std::string>& lines);  // replaces the block
  void clear();

 private:
  void erase();
  bool live_;
  std::size_t height_ = 0;
  std::vector<std::string> lines_;
};

}  // namespace consort::cli
