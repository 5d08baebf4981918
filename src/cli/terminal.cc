#include "cli/terminal.h"

#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>

#include "cli/layout.h"

namespace consort::cli {
namespace {

bool colour_forbidden = false;

// It shows escape sequences as they are.
bool is_dumb() {
  const char* term = std::getenv("TERM");
  return term != nullptr && std::string_view(term) == "dumb";
}

bool colours(int fd) {
  const char* no_color = std::getenv("NO_COLOR");
  return !colour_forbidden && ::isatty(fd) == 1 && (no_color == nullptr || *no_color == '\0') &&
         !is_dumb();
}

std::string paint_on(int fd, Colour colour, std::string_view text) {
  constexpr std::string_view codes[] = {"",         "\x1b[1m",  "\x1b[2m",  "\x1b[31m",
                                        "\x1b[32m", "\x1b[33m", "\x1b[34m", "\x1b[36m"};
  if (colour == Colour::plain || !colours(fd)) return std::string(text);
  return std::string(codes[static_cast<std::size_t>(colour)]) + std::string(text) + "\x1b[0m";
}

void write_out(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EPIPE) ::_exit(128 + SIGPIPE);
    if (n < 0) return;
    text.remove_prefix(static_cast<std::size_t>(n));
  }
}

}  // namespace

void print(std::string_view text) { write_out(STDOUT_FILENO, text); }
void print_to_stderr(std::string_view text) { write_out(STDERR_FILENO, text); }
bool stdout_is_terminal() { return ::isatty(STDOUT_FILENO) == 1; }
bool stderr_is_terminal() { return ::isatty(STDERR_FILENO) == 1; }
bool stdin_is_terminal() { return ::isatty(STDIN_FILENO) == 1; }

Result<std::string> read_secret_line() {
  constexpr std::size_t kLongest = 64U << 10U;
  termios before{};
  const bool hide = ::tcgetattr(STDIN_FILENO, &before) == 0;
  if (hide) {
    termios quiet = before;
    quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
  }
  std::string out;
  char c = 0;
  ssize_t got = 0;
  while (out.size() < kLongest && (got = ::read(STDIN_FILENO, &c, 1)) == 1 && c != '\n') out += c;
  const int error = errno;
  if (hide) {
    ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
    print_to_stderr("\n");
  }
  if (got < 0) return fail_errno(error, "cannot read standard input");
  return out;
}

void forbid_colour() { colour_forbidden = true; }
std::string paint(Colour colour, std::string_view text) {
  return paint_on(STDOUT_FILENO, colour, text);
}
std::string paint_for_stderr(Colour colour, std::string_view text) {
  return paint_on(STDERR_FILENO, colour, text);
}

namespace {

std::size_t columns_of(int fd) {
  winsize size{};
  if (::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 20) return size.ws_col;
  return 100;
}

}  // namespace

std::size_t terminal_width() { return columns_of(STDERR_FILENO); }
std::size_t output_width() { return stdout_is_terminal() ? columns_of(STDOUT_FILENO) : 0; }

std::string table(const std::vector<std::vector<std::string>>& rows, Header header) {
  const std::vector<std::size_t> widths = column_widths(rows);
  std::string out;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    std::vector<std::string> row = rows[r];
    if (r == 0 && header == Header::yes) {
      for (std::string& cell : row) {
        if (!cell.empty()) cell = paint(Colour::bold, cell);
      }
    }
    out += lay_row(row, widths, output_width());
  }
  return out;
}

LiveBlock::LiveBlock() : live_(stderr_is_terminal() && !is_dumb()) {}
LiveBlock::~LiveBlock() { clear(); }

void LiveBlock::erase() {
  if (height_ == 0) return;
  print_to_stderr("\r\x1b[" + std::to_string(height_) + "A\x1b[J");
  height_ = 0;
}

void LiveBlock::line(std::string_view text) {
  if (live_) erase();
  print_to_stderr((live_ ? wrap(text, terminal_width(), 0, "           ") : std::string(text)) +
                  "\n");
  if (live_) draw(lines_);
}

void LiveBlock::draw(const std::vector<std::string>& lines) {
  lines_ = lines;
  if (!live_) return;
  erase();
  std::string out;
  for (const std::string& text : lines_) out += cut(text, terminal_width()) + "\n";
  height_ = lines_.size();
  print_to_stderr(out);
}

void LiveBlock::clear() {
  erase();
  lines_.clear();
}

}  // namespace consort::cli
