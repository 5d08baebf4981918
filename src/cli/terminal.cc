#include "cli/terminal.h"

#include <poll.h>
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
bool stdout_is_data = false;
int lost_output = 0;  // the errno of the first write to stdout that failed

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
  if (colour == Colour::plain || !colours(fd)) return std::string(text);
  return std::string(kColourCodes.at(static_cast<std::size_t>(colour))) + std::string(text) +
         std::string(kColourReset);
}

void write_out(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EPIPE) ::_exit(128 + SIGPIPE);
    if (n < 0 && errno == EAGAIN) {  // somebody made it non-blocking
      pollfd writable{fd, POLLOUT, 0};
      (void)::poll(&writable, 1, -1);
      continue;
    }
    if (n < 0) {
      if (fd == STDOUT_FILENO && lost_output == 0) lost_output = errno;
      return;
    }
    text.remove_prefix(static_cast<std::size_t>(n));
  }
}

// Also into a pipe: what is at its end is a terminal often enough.
std::string cleaned(int fd, std::string_view text) {
  return for_people(text, colours(fd) ? Colours::ours : Colours::none);
}

}  // namespace

void print(std::string_view text) {
  if (stdout_is_data)
    write_out(STDOUT_FILENO, text);
  else
    write_out(STDOUT_FILENO, cleaned(STDOUT_FILENO, text));
}
void print_to_stderr(std::string_view text) {
  write_out(STDERR_FILENO, cleaned(STDERR_FILENO, text));
}
void print_error(const Error& error) {
  print_to_stderr(wrap_error(render_error(error), stderr_is_terminal() ? terminal_width() : 0));
}
Status check_output() {
  if (lost_output == 0) return {};
  return fail_errno(lost_output, "cannot write to standard output")
      .hint(
          "what the command did is done, only what it said is lost; see whether there is room "
          "where its output goes");
}
void print_as_data() { stdout_is_data = true; }
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

namespace {

// Until what was written into a pipe is read, and a moment for its reader to show it. A reader that
// does not read keeps nobody waiting for long.
void let_output_be_shown() {
  for (int tries = 0; tries < 100; ++tries) {
    int unread = 0;
    if (::ioctl(STDOUT_FILENO, FIONREAD, &unread) != 0) return;
    ::poll(nullptr, 0, unread > 0 ? 10 : 50);
    if (unread == 0) return;
  }
}

}  // namespace

Result<bool> ask_person(std::string_view question) {
  if (!stdin_is_terminal() || !(stderr_is_terminal() || stdout_is_terminal()))
    return fail(ErrorCode::refused, "nobody can be asked here");
  if (!stdout_is_terminal()) let_output_be_shown();
  ::tcflush(STDIN_FILENO, TCIFLUSH);
  (stderr_is_terminal() ? print_to_stderr : print)(question);
  // One line and no more: the next is somebody else's.
  std::string answer;
  char c = 0;
  while (answer.size() < 16 && ::read(STDIN_FILENO, &c, 1) == 1 && c != '\n') answer += c;
  return answer == "y" || answer == "Y" || answer == "yes";
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
  return table(rows, header, output_width());
}

std::string table(const std::vector<std::vector<std::string>>& rows, Header header,
                  std::size_t width) {
  const std::vector<std::size_t> widths = column_widths(rows);
  std::string out;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    std::vector<std::string> row = rows[r];
    if (r == 0 && header == Header::yes) {
      for (std::string& cell : row) {
        if (!cell.empty()) cell = paint(Colour::bold, cell);
      }
    }
    // No text makes itself a row of its own.
    for (std::string& cell : row) std::replace(cell.begin(), cell.end(), '\n', ' ');
    out += lay_row(row, widths, width);
  }
  return out;
}

LiveBlock::LiveBlock() : live_(stderr_is_terminal() && !is_dumb()) {}
LiveBlock::~LiveBlock() { clear(); }

void LiveBlock::erase() {
  if (height_ == 0) return;
  write_out(STDERR_FILENO, "\r\x1b[" + std::to_string(height_) + "A\x1b[J");
  height_ = 0;
}

void LiveBlock::line(std::string_view text) {
  if (live_) erase();
  print_to_stderr((live_ ? wrap(text, terminal_width(), 0, "            ") : std::string(text)) +
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
