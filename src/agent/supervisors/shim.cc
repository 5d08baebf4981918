#include "agent/supervisors/shim.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "agent/supervisors/credentials.h"
#include "agent/supervisors/environment_file.h"
#include "agent/supervisors/process_facts.h"
#include "agent/supervisors/supervisor.h"
#include "base/log.h"
#include "base/process.h"
#include "crypto/secret.h"

namespace consort::agent {
namespace {

constexpr off_t kLogLimit = 10 << 20;
constexpr int kLastPieces = 16;  // of 64 KiB each: as much as a pipe can hold
constexpr Duration kLongestPause = seconds(30);
constexpr Duration kWriteAgain = seconds(1);  // what the disk has not taken
constexpr Duration kSteadyRun = seconds(10);  // after which a crash counts as the first again

using Steady = std::chrono::steady_clock;

// Their values may be secrets; this process lives as long as the daemon and keeps none.
struct Variables {
  explicit Variables(std::map<std::string, std::string> given) : values(std::move(given)) {}
  Variables(const Variables&) = delete;
  Variables& operator=(const Variables&) = delete;
  ~Variables() {
    for (auto& [name, value] : values) crypto::wipe(value);
  }
  std::map<std::string, std::string> values;
};

// Everything that the child needs between fork and exec, made before: only async-signal-safe calls
// are allowed there.
struct Launch {
  Launch() = default;
  Launch(Launch&&) = default;
  Launch& operator=(Launch&&) = delete;
  Launch(const Launch&) = delete;
  Launch& operator=(const Launch&) = delete;
  ~Launch() {
    for (std::string& text : environment_text) crypto::wipe(text);
  }
  std::vector<std::string> argv_text;
  std::vector<std::string> environment_text;
  std::vector<char*> argv;
  std::vector<char*> environment;
};

// Copies, as what is moved from leaves short values behind.
Status add_file(const std::string& file, std::map<std::string, std::string>& environment) {
  auto text = read_file_no_foreign_links(file, kEnvironmentFileLimit);
  if (!text) return fail(std::move(text).error().context("reading the environment"));
  auto read = parse_environment_file(*text);
  crypto::wipe(*text);
  if (!read) return fail(std::move(read).error().context("reading " + file));
  const Variables variables(std::move(*read));
  for (const auto& [key, value] : variables.values) environment[key] = value;
  return {};
}

Result<Launch> prepare(const DaemonSpec& spec, const std::string& notify_name,
                       const fs::path& folder) {
  Launch out;
  out.argv_text = spec.argv;
  Variables variables({{"PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
                       {"LANG", "C.UTF-8"}});
  auto& environment = variables.values;
  for (const auto& [key, value] : spec.environment) environment[key] = value;
  if (!spec.environment_file.empty()) TRYV(add_file(spec.environment_file, environment));
  if (!spec.credentials.empty())
    environment["CREDENTIALS_DIRECTORY"] = TRY(lay_out_credentials(spec, folder)).string();
  if (spec.readiness.type == ReadinessSpec::Type::notify)
    environment["NOTIFY_SOCKET"] = "@" + notify_name;
  // At their final place and size at once: what grows leaves copies behind.
  out.environment_text.reserve(environment.size());
  for (const auto& [key, value] : environment) {
    std::string& text = out.environment_text.emplace_back();
    text.reserve(key.size() + 1 + value.size());
    text.append(key).append("=").append(value);
  }
  for (std::string& word : out.argv_text) out.argv.push_back(word.data());
  for (std::string& word : out.environment_text) out.environment.push_back(word.data());
  out.argv.push_back(nullptr);
  out.environment.push_back(nullptr);
  return out;
}

[[noreturn]] void become_daemon(const DaemonSpec& spec, const Launch& launch, int output,
                                int report, pid_t shim) {
  const auto die = [&] {
    const int error_number = errno;
    [[maybe_unused]] const ssize_t n = ::write(report, &error_number, sizeof error_number);
    ::_exit(127);
  };
  const auto limit = [](__rlimit_resource what, const std::optional<std::int64_t>& value) {
    if (!value) return true;
    const rlimit both{static_cast<rlim_t>(*value), static_cast<rlim_t>(*value)};
    return ::setrlimit(what, &both) == 0;
  };
  ::setpgid(0, 0);
  for (int s = 1; s < 32; ++s) ::signal(s, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  const int in = ::open("/dev/null", O_RDONLY);
  if (in < 0 || ::dup2(in, 0) < 0 || ::dup2(output, 1) < 0 || ::dup2(output, 2) < 0) die();
  if (!limit(RLIMIT_NOFILE, spec.nofile) || !limit(RLIMIT_DATA, spec.memory) ||
      !limit(RLIMIT_NPROC, spec.tasks))
    die();
  if (spec.gid &&
      (::setgroups(spec.groups.size(), spec.groups.data()) != 0 || ::setgid(*spec.gid) != 0))
    die();
  if (spec.uid && ::setuid(*spec.uid) != 0) die();
  if (::chdir(spec.folder.empty() ? "/" : spec.folder.c_str()) != 0) die();
  // After setuid, which clears it.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != shim) ::_exit(127);
  if (spec.hardening == Hardening::strict) ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  ::execvpe(launch.argv[0], launch.argv.data(), launch.environment.data());
  die();
  ::_exit(127);
}

class Shim {
 public:
  Shim(fs::path folder, DaemonSpec spec, int report)
      : folder_(std::move(folder)),
        spec_(std::move(spec)),
        report_(report),
        self_(::getpid()),
        self_start_(process_start_time(self_)),
        boot_(boot_id()) {}

  int run() {
    if (auto lock = FileLock::acquire(folder_ / "lock", fmt::format("the daemon {}", spec_.name))) {
      lock_ = std::make_unique<FileLock>(std::move(*lock));
    } else {
      // Another shim is at work: its state file is not ours to write.
      tell_agent(lock.error().code() == ErrorCode::locked ? std::string(kShimLocked)
                                                          : lock.error().message());
      return 1;
    }
    // From here on the agent can find us, also when the one that started us is gone.
    if (std::error_code ec; fs::is_directory(folder_ / "state.json", ec))
      static_cast<void>(remove_tree(folder_ / "state.json"));
    write_state();
    // After it: who finds only this takes the state for damaged.
    static_cast<void>(write_file_atomic(folder_ / kShimIdentity, identity().dump() + "\n", 0600,
                                        Durability::cached));
    if (Status status = set_up(); !status) return refuse(status.error().message());
    if (Status status = start(); !status) return refuse(status.error().message());
    tell_agent("ok");
    while (!finished_) turn();
    return 0;
  }

 private:
  enum class State : std::uint8_t { starting, running, waiting, ended };

  // With the lock held: nobody else's are in the folder.
  int refuse(const std::string& why) {
    remove_credentials(folder_);
    state_ = State::ended;
    exit_status_ = 127;
    write_state();
    tell_agent(why);
    return 1;
  }

  void tell_agent(const std::string& text) {
    ::signal(SIGPIPE, SIG_IGN);
    if (report_.valid()) [[maybe_unused]]
      const ssize_t n = ::write(report_.get(), text.data(), text.size());
    report_.reset();
  }

  Status set_up() {
    // Orphans of the daemon come to us instead of piling up at init.
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    sigset_t mask;
    sigemptyset(&mask);
    for (const int s : {SIGTERM, SIGINT, SIGCHLD, SIGHUP}) sigaddset(&mask, s);
    ::sigprocmask(SIG_BLOCK, &mask, nullptr);
    signals_ = Fd(::signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK));
    std::array<int, 2> fds{};
    if (!signals_.valid() || ::pipe2(fds.data(), O_CLOEXEC | O_NONBLOCK) != 0)
      return fail_errno(errno, "cannot set up the shim");
    output_ = Fd(fds[0]);
    output_for_child_ = Fd(fds[1]);
    // The daemon's end blocks, as programs expect of their output.
    ::fcntl(output_for_child_.get(), F_SETFL, 0);
    open_log();
    return spec_.readiness.type == ReadinessSpec::Type::notify ? open_notify() : Status();
  }

  // An abstract socket: the daemon may run as another user that cannot enter our folder. The sender
  // is checked.
  Status open_notify() {
    notify_name_ = fmt::format("consort/{}/{}/{}", self_, self_start_, spec_.name);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path + 1, notify_name_.data(), notify_name_.size());
    notify_ = Fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const int on = 1;
    ::setsockopt(notify_.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
    const auto size =
        static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + notify_name_.size());
    if (::bind(notify_.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0)
      return fail_errno(errno, "cannot open the notify socket");
    return {};
  }

  Status start() {
    // It would keep the groups of the agent.
    if (spec_.uid && !spec_.gid)
      return fail(ErrorCode::invalid_input,
                  fmt::format("user {} of {} has no group", *spec_.uid, spec_.name));
    const Launch launch = TRY(prepare(spec_, notify_name_, folder_));
    std::array<int, 2> report{};
    if (::pipe2(report.data(), O_CLOEXEC) != 0) return fail_errno(errno, "cannot create a pipe");
    const Fd reading(report[0]);
    Fd writing(report[1]);
    ready_ = spec_.readiness.type != ReadinessSpec::Type::notify;
    const pid_t pid = ::fork();
    if (pid < 0) return fail_errno(errno, "cannot start a process");
    if (pid == 0) become_daemon(spec_, launch, output_for_child_.get(), writing.get(), self_);
    writing.reset();
    int error_number = 0;
    ssize_t n = 0;
    while ((n = ::read(reading.get(), &error_number, sizeof error_number)) < 0 && errno == EINTR) {
    }
    if (n == static_cast<ssize_t>(sizeof error_number)) {
      ::waitpid(pid, nullptr, 0);
      return fail_errno(error_number,
                        fmt::format("cannot run {} (folder {}, user {})", spec_.argv[0],
                                    spec_.folder.empty() ? "/" : spec_.folder,
                                    spec_.user.empty() ? "unchanged" : spec_.user));
    }
    pid_ = pid;
    pid_start_ = process_start_time(pid);
    begun_ = Steady::now();
    state_ = State::running;
    write_state();
    return {};
  }

  void turn() {
    std::array<pollfd, 3> fds = {pollfd{signals_.get(), POLLIN, 0},
                                 pollfd{output_.get(), POLLIN, 0},
                                 pollfd{notify_.get(), POLLIN, 0}};
    ::poll(fds.data(), fds.size(), pause());
    if (fds[0].revents != 0) take_signals();
    if (fds[1].revents != 0) copy_output(1);
    if (fds[2].revents != 0) hear();
    if (deadline_ && Steady::now() >= *deadline_) on_deadline();
    if (write_again_ && Steady::now() >= *write_again_ && !finished_)
      static_cast<void>(put_state());
  }

  [[nodiscard]] int pause() const {
    if (!deadline_ && !write_again_) return -1;
    const Steady::time_point next = std::min(deadline_.value_or(Steady::time_point::max()),
                                             write_again_.value_or(Steady::time_point::max()));
    const auto left = std::chrono::duration_cast<Duration>(next - Steady::now()).count() + 1;
    return static_cast<int>(std::clamp<std::int64_t>(left, 0, 60'000));
  }

  void on_deadline() {
    deadline_.reset();
    if (stopping_) {
      kill_session(self_, self_);
    } else if (state_ == State::waiting) {
      if (Status status = start(); !status) {
        write_log(fmt::format("consort: {}\n", status.error().message()));
        exit_status_ = 127;
        wait_before_restart();
      }
    }
  }

  void take_signals() {
    signalfd_siginfo info{};
    while (::read(signals_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
      if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT) stop();
    }
    int status = 0;
    pid_t pid = 0;
    while ((pid = ::waitpid(-1, &status, WNOHANG)) > 0) {
      if (pid == pid_) ended(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
    }
  }

  void stop() {
    if (stopping_) return;
    stopping_ = true;
    if (state_ != State::running) return finish();
    ::kill(pid_, spec_.stop_signal);
    deadline_ = Steady::now() + spec_.stop_timeout;
  }

  void ended(int exit_status) {
    copy_output(kLastPieces);
    // What the daemon left behind would get in the way of the next one.
    kill_session(self_, self_);
    exit_status_ = exit_status;
    pid_ = 0;
    pid_start_ = 0;
    ready_ = false;
    const bool again = spec_.restart == RestartPolicy::always ||
                       (spec_.restart == RestartPolicy::on_failure && exit_status != 0);
    if (stopping_ || !again) return finish();
    write_log(fmt::format("consort: ended with status {}\n", exit_status));
    if (Steady::now() - begun_ >= kSteadyRun) quick_ends_ = 0;
    wait_before_restart();
  }

  // The first restart is immediate; then 100 ms, 200 ms, … 30 s.
  void wait_before_restart() {
    const Duration wait =
        quick_ends_ == 0 ? Duration(0)
                         : std::min(Duration(50) * (1 << std::min(quick_ends_, 12)), kLongestPause);
    ++quick_ends_;
    ++restarts_;
    state_ = State::waiting;
    write_state();
    deadline_ = Steady::now() + wait;
  }

  void finish() {
    state_ = State::ended;
    remove_credentials(folder_);
    write_state();
    finished_ = true;
  }

  void hear() {
    std::array<char, 4096> text{};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(ucred))> control{};
    iovec part{text.data(), text.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t n = ::recvmsg(notify_.get(), &message, MSG_CMSG_CLOEXEC);
    const cmsghdr* header = CMSG_FIRSTHDR(&message);
    if (n <= 0 || header == nullptr || header->cmsg_type != SCM_CREDENTIALS) return;
    ucred sender{};
    std::memcpy(&sender, CMSG_DATA(header), sizeof sender);
    const std::string_view said(text.data(), static_cast<std::size_t>(n));
    const bool ours = sender.pid == pid_ || ::getsid(sender.pid) == self_;
    if (!ours || (("\n" + std::string(said)).find("\nREADY=1") == std::string::npos) || ready_)
      return;
    ready_ = true;
    write_state();
  }

  void open_log() {
    log_ = Fd(::open((folder_ / "log").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
    struct stat info {};
    log_size_ = ::fstat(log_.get(), &info) == 0 ? info.st_size : 0;
  }

  void write_log(std::string_view text) {
    if (log_size_ + static_cast<off_t>(text.size()) > kLogLimit) {
      ::rename((folder_ / "log").c_str(), (folder_ / "log.1").c_str());
      open_log();
    }
    // A full disk costs log lines, never the daemon.
    if (write_all(log_.get(), text, "log")) log_size_ += static_cast<off_t>(text.size());
  }

  // Never until there is no more: who writes without end is stopped all the same.
  void copy_output(int pieces) {
    std::array<char, 65536> buffer{};
    while (--pieces >= 0) {
      const ssize_t n = ::read(output_.get(), buffer.data(), buffer.size());
      if (n <= 0) return;
      write_log(std::string_view(buffer.data(), static_cast<std::size_t>(n)));
    }
  }

  [[nodiscard]] Json identity() const {
    return Json::object({{"shim", self_}, {"shimStart", self_start_}, {"boot", boot_}});
  }

  void write_state() {
    since_ = SystemClock().now();
    const Status status = put_state();
    if (!status) write_log(fmt::format("consort: {}\n", status.error().message()));
  }

  // The agent looks at nothing else: what a full disk has not taken is written later, or the agent
  // would know a dead process for ever.
  Status put_state() {
    static constexpr std::array<std::string_view, 4> kNames = {"starting", "running", "waiting",
                                                               "ended"};
    const Json state = Json::object({
        {"shim", self_},
        {"shimStart", self_start_},
        {"boot", boot_},
        {"pid", pid_},
        {"start", pid_start_},
        {"state", kNames[static_cast<std::size_t>(state_)]},
        {"ready", state_ == State::running && ready_},
        {"since", to_millis(since_)},
        {"exitStatus", exit_status_ ? Json(*exit_status_) : Json()},
        {"restarts", restarts_},
        {"configDigest", spec_.config_digest.str()},
    });
    Status status =
        write_file_atomic(folder_ / "state.json", state.dump() + "\n", 0600, Durability::cached);
    write_again_ = status ? std::nullopt : std::optional(Steady::now() + kWriteAgain);
    return status;
  }

  fs::path folder_;
  DaemonSpec spec_;
  Fd report_;
  pid_t self_;
  std::uint64_t self_start_;
  std::string boot_;
  std::unique_ptr<FileLock> lock_;
  Fd signals_, output_, output_for_child_, notify_, log_;
  std::string notify_name_;
  off_t log_size_ = 0;
  State state_ = State::starting;
  pid_t pid_ = 0;
  std::uint64_t pid_start_ = 0;
  bool ready_ = false;
  bool stopping_ = false;
  bool finished_ = false;
  int quick_ends_ = 0;
  int restarts_ = 0;
  std::optional<int> exit_status_;
  Steady::time_point begun_;
  Instant since_{};
  std::optional<Steady::time_point> deadline_;
  std::optional<Steady::time_point> write_again_;
};

}  // namespace

int daemon_shim_main(int argc, char** argv) {
  if (argc != 3) return error_exit_status(ErrorCode::usage);
  forbid_core_dumps();  // of the shim: the daemon's own begin with its program
  const fs::path folder(argv[1]);
  const int report = std::atoi(argv[2]);
  const auto text = read_file(folder / "spec.json", 1U << 20U);
  const auto json =
      text ? parse_json(*text, "spec.json") : Result<Json>(tl::unexpected<Error>(text.error()));
  auto spec =
      json ? daemon_spec_from_json(*json) : Result<DaemonSpec>(tl::unexpected<Error>(json.error()));
  if (!spec) {
    const std::string why = spec.error().message();
    [[maybe_unused]] const ssize_t n = ::write(report, why.data(), why.size());
    return 1;
  }
  ::fcntl(report, F_SETFD, FD_CLOEXEC);
  return Shim(folder, std::move(*spec), report).run();
}

}  // namespace consort::agent
