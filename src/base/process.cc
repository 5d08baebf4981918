#include "base/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

extern char** environ;

namespace consort {
namespace {

struct Pipe {
  Fd read;
  Fd write;
};

Result<Pipe> make_pipe() {
  std::array<int, 2> fds{};
  if (::pipe2(fds.data(), O_CLOEXEC) != 0) return fail_errno(errno, "cannot create a pipe");
  return Pipe{Fd(fds[0]), Fd(fds[1])};
}

// Keeps the first and the last half of what came.
void shorten(std::string& out, std::size_t limit) {
  if (out.size() <= limit) return;
  const std::size_t half = limit / 2;
  out = out.substr(0, half) + "\n[…]\n" + out.substr(out.size() - half);
}

// Shortened seldom: moving a large half for each piece would be slower than the program writes.
void append_bounded(std::string& out, std::string_view bytes, std::size_t limit) {
  out.append(bytes);
  if (out.size() > 2 * limit) shorten(out, limit);
}

std::vector<std::string> environment_of(const ProcessSpec& spec) {
  std::vector<std::string> out;
  if (!spec.clear_environment) {
    for (char** entry = environ; *entry != nullptr; ++entry) {
      const std::string_view text(*entry);
      if (!spec.environment.contains(std::string(text.substr(0, text.find('=')))))
        out.emplace_back(text);
    }
  }
  for (const auto& [key, value] : spec.environment) out.push_back(key + "=" + value);
  return out;
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> out;
  for (std::string& s : strings) out.push_back(s.data());
  out.push_back(nullptr);
  return out;
}

// Between fork and exec only async-signal-safe calls are allowed.
[[noreturn]] void become(const ProcessSpec& spec, char* const* argv, char* const* envp, int in,
                         int out, int err, int report) {
  const auto die = [&] {
    const int error_number = errno;
    [[maybe_unused]] const ssize_t n = ::write(report, &error_number, sizeof error_number);
    ::_exit(127);
  };
  ::setpgid(0, 0);
  for (int s = 1; s < 32; ++s) ::signal(s, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  if (::dup2(in, 0) < 0 || ::dup2(out, 1) < 0 || ::dup2(err, 2) < 0) die();
  if (!spec.folder.empty() && ::chdir(spec.folder.c_str()) != 0) die();
  if (spec.gid &&
      (::setgroups(spec.groups.size(), spec.groups.data()) != 0 || ::setgid(*spec.gid) != 0))
    die();
  if (spec.uid && ::setuid(*spec.uid) != 0) die();
  ::execvpe(argv[0], argv, envp);
  die();
  ::_exit(127);
}

class Conversation {
 public:
  Conversation(const ProcessSpec& spec, pid_t pid, Fd in, Fd out, Fd err)
      : spec_(spec),
        pid_(pid),
        in_(std::move(in)),
        out_(std::move(out)),
        err_(std::move(err)),
        begun_(std::chrono::steady_clock::now()) {}

  ProcessOutcome talk() {
    for (Fd* fd : {&in_, &out_, &err_}) ::fcntl(fd->get(), F_SETFL, O_NONBLOCK);
    if (spec_.input.empty()) in_.reset();
    const Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
    bool alive = true;
    // The process may leave children that keep the pipes open: its own end is what counts.
    while (alive) {
      std::array<pollfd, 4> fds = {pollfd{in_.get(), POLLOUT, 0}, pollfd{out_.get(), POLLIN, 0},
                                   pollfd{err_.get(), POLLIN, 0}, pollfd{pidfd.get(), POLLIN, 0}};
      const int ready = ::poll(fds.data(), fds.size(), patience(pidfd.get() >= 0));
      if (ready < 0 && errno != EINTR) break;
      if (fds[0].revents != 0) feed();
      if (fds[1].revents != 0) drain(out_, outcome_.output);
      if (fds[2].revents != 0) drain(err_, outcome_.errors);
      if (fds[3].revents != 0 || (pidfd.get() < 0 && has_ended())) alive = false;
    }
    // Until it is reaped nobody else can get its number, nor its group's.
    siginfo_t end{};
    while (::waitid(P_PID, static_cast<id_t>(pid_), &end, WEXITED | WNOWAIT) < 0 &&
           errno == EINTR) {
    }
    if (outcome_.timed_out) ::kill(-pid_, SIGKILL);  // stragglers of the group
    if (spec_.on_end) spec_.on_end(pid_);
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    drain(out_, outcome_.output);
    drain(err_, outcome_.errors);
    for (std::string* text : {&outcome_.output, &outcome_.errors})
      shorten(*text, spec_.output_limit);
    if (WIFSIGNALED(status)) {
      outcome_.signal = WTERMSIG(status);
      outcome_.status = 128 + outcome_.signal;
    } else {
      outcome_.status = WEXITSTATUS(status);
    }
    outcome_.elapsed = elapsed();
    return std::move(outcome_);
  }

 private:
  // How long to wait at most, in milliseconds; -1: until something happens. A kernel without pidfd,
  // or a process without a free descriptor, is asked again and again.
  [[nodiscard]] int patience(bool is_told_of_the_end) {
    const int limit = enforce_limit();
    constexpr int kAskAgain = 20;
    return is_told_of_the_end ? limit : limit < 0 ? kAskAgain : std::min(limit, kAskAgain);
  }

  [[nodiscard]] bool has_ended() const {
    siginfo_t info{};
    return ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
           info.si_pid == pid_;
  }

  [[nodiscard]] Duration elapsed() const {
    return std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now() - begun_);
  }

  // Milliseconds until the next limit; ends the group when one has passed.
  int enforce_limit() {
    Duration left = spec_.timeout - elapsed();
    if (left.count() <= 0 && !outcome_.timed_out) {
      outcome_.timed_out = true;
      ::kill(-pid_, SIGTERM);
    }
    if (outcome_.timed_out) {
      left = spec_.timeout + spec_.grace - elapsed();
      if (left.count() <= 0) {
        ::kill(-pid_, SIGKILL);
        return 100;
      }
    }
    return static_cast<int>(std::min<std::int64_t>(left.count() + 1, 60'000));
  }

  void feed() {
    const ssize_t n = ::write(in_.get(), spec_.input.data() + fed_, spec_.input.size() - fed_);
    if (n > 0) fed_ += static_cast<std::size_t>(n);
    if ((n < 0 && errno != EAGAIN && errno != EINTR) || fed_ == spec_.input.size()) in_.reset();
  }

  // A megabyte at a time: the limits are looked at between, however fast it writes.
  void drain(Fd& fd, std::string& into) {
    std::array<char, 65536> buffer{};
    for (int pieces = 0; pieces < 16 && fd.valid(); ++pieces) {
      const ssize_t n = ::read(fd.get(), buffer.data(), buffer.size());
      if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
      if (n <= 0) return fd.reset();
      const std::string_view bytes(buffer.data(), static_cast<std::size_t>(n));
      if (spec_.on_output) spec_.on_output(bytes);
      append_bounded(into, bytes, spec_.output_limit);
    }
  }

  const ProcessSpec& spec_;
  pid_t pid_;
  Fd in_, out_, err_;
  std::size_t fed_ = 0;
  std::chrono::steady_clock::time_point begun_;
  ProcessOutcome outcome_;
};

}  // namespace

Result<ProcessOutcome> run_process(const ProcessSpec& spec) {
  if (spec.argv.empty() || spec.argv[0].empty())
    return fail(ErrorCode::invalid_input, "no program to run: argv is empty");
  if (spec.uid && !spec.gid)
    return fail(ErrorCode::invalid_input,
                fmt::format("cannot run {} as user {} without a group", spec.argv[0], *spec.uid));
  std::vector<std::string> argv_strings = spec.argv;
  std::vector<std::string> env_strings = environment_of(spec);
  const std::vector<char*> argv = pointers(argv_strings);
  const std::vector<char*> envp = pointers(env_strings);
  Pipe in = TRY(make_pipe());
  Pipe out = TRY(make_pipe());
  Pipe err = TRY(make_pipe());
  Pipe report = TRY(make_pipe());
  // A reader that went away must be an error of write(), not the end of this process.
  ::signal(SIGPIPE, SIG_IGN);
  const pid_t pid = ::fork();
  if (pid < 0) return fail_errno(errno, "cannot start a process");
  if (pid == 0)
    become(spec, argv.data(), envp.data(), in.read.get(), out.write.get(), err.write.get(),
           report.write.get());
  ::setpgid(pid, pid);
  in.read.reset();
  out.write.reset();
  err.write.reset();
  report.write.reset();
  int error_number = 0;
  ssize_t n = 0;
  while ((n = ::read(report.read.get(), &error_number, sizeof error_number)) < 0 &&
         errno == EINTR) {
  }
  if (n == static_cast<ssize_t>(sizeof error_number)) {
    ::waitpid(pid, nullptr, 0);
    auto failure = fail_errno(error_number, fmt::format("cannot run {}", spec.argv[0]));
    // "No such file" of a file that is there means the program that its first line names.
    const auto text = error_number == ENOENT ? read_file(spec.argv[0]) : std::string();
    if (text && text->starts_with("#!"))
      return std::move(failure).hint(fmt::format("is its interpreter there? It begins with {}",
                                                 text->substr(0, text->find('\n'))));
    return failure;
  }
  if (spec.on_start) spec.on_start(pid);
  return Conversation(spec, pid, std::move(in.write), std::move(out.read), std::move(err.read))
      .talk();
}

ProcessSpec program_from(const fs::path& folder, std::vector<std::string> argv) {
  ProcessSpec out;
  out.argv = std::move(argv);
  // Without a '/' it is looked up in PATH.
  if (!out.argv.empty() && out.argv[0].find('/') != std::string::npos)
    out.argv[0] = (folder / out.argv[0]).lexically_normal().string();
  out.folder = folder;
  return out;
}

std::string quote_argv(const std::vector<std::string>& argv) {
  std::string out;
  for (const std::string& word : argv) {
    if (!out.empty()) out += ' ';
    const bool plain = !word.empty() && std::all_of(word.begin(), word.end(), [](char c) {
      return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
             std::strchr("@%_-+=:,./", c) != nullptr;
    });
    if (plain) {
      out += word;
      continue;
    }
    const bool has_control = std::any_of(word.begin(), word.end(), [](char c) {
      return static_cast<unsigned char>(c) < ' ' || c == 0x7f;
    });
    if (has_control) {
      // As bash reads it: who looks at it sees what is there, on one line.
      out += "$'";
      for (const char c : word) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '\n') {
          out += "\\n";
        } else if (byte < ' ' || byte == 0x7f) {
          out += fmt::format("\\x{:02x}", byte);
        } else {
          if (c == '\'' || c == '\\') out += '\\';
          out += c;
        }
      }
      out += '\'';
      continue;
    }
    out += '\'';
    for (const char c : word) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
    out += '\'';
  }
  return out;
}

void forbid_core_dumps() {
  // It cannot fail with these values.
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

std::size_t allow_many_files() {
  rlimit limit{};
  // They cannot fail with these values.
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  return limit.rlim_cur;
}

}  // namespace consort
