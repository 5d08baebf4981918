#include "agent/supervisors/native.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <climits>
#include <csignal>
#include <mutex>
#include <set>
#include <thread>

#include "agent/supervisors/credentials.h"
#include "agent/supervisors/process_facts.h"
#include "agent/supervisors/shim.h"
#include "base/log.h"
#include "base/text.h"

namespace consort::agent {
namespace {

constexpr Duration kStopMargin = seconds(5);
constexpr const char* kStopping = "stopping";  // a file in the daemon's folder

struct ShimState {
  bool this_boot = false;
  pid_t shim = 0;
  std::uint64_t shim_start = 0;
  pid_t pid = 0;
  std::uint64_t start = 0;
  std::string state;
  bool ready = false;
  Instant since{};
  std::optional<int> exit_status;
  std::int64_t restarts = 0;
  Digest config_digest;
};

Json read_record(const fs::path& path) {
  const auto text = read_file(path, 65536);
  auto json = text ? parse_json(*text) : Result<Json>(Json());
  return json && json->is_object() ? std::move(*json) : Json();
}

// Of a damaged or absent state it is still known which shim is at work, so that it can be stopped.
// Where that is lost, too, it reads as "nothing runs"; the shim's lock keeps that from doing harm.
ShimState read_state(const fs::path& folder) {
  ShimState out;
  Json state = read_record(folder / "state.json");
  const bool is_whole = state.is_object();
  if (!is_whole) state = read_record(folder / kShimIdentity);
  out.this_boot = state.string_or("boot") == boot_id();
  out.shim = static_cast<pid_t>(state.int_or("shim"));
  out.shim_start = static_cast<std::uint64_t>(state.int_or("shimStart"));
  if (!is_whole) return out;
  out.pid = static_cast<pid_t>(state.int_or("pid"));
  out.start = static_cast<std::uint64_t>(state.int_or("start"));
  out.state = state.string_or("state");
  out.ready = state.bool_or("ready");
  out.since = from_millis(state.int_or("since"));
  if (const Json* status = state.find("exitStatus"); status != nullptr && status->is_int())
    out.exit_status = static_cast<int>(status->as_int());
  out.restarts = state.int_or("restarts");
  out.config_digest = Digest::parse(state.string_or("configDigest")).value_or(Digest());
  return out;
}

Fd open_shim(const ShimState& state) {
  return state.this_boot ? open_process(state.shim, state.shim_start) : Fd();
}

class NativeSupervisor final : public Supervisor {
 public:
  explicit NativeSupervisor(NativeOptions options) : options_(std::move(options)) {}
  ~NativeSupervisor() override {
    if (!watcher_.joinable()) return;
    watcher_.request_stop();
    wake();
    watcher_.join();
  }

  Status begin() {
    TRYV(make_folders(options_.state_folder, 0700));
    wake_ = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    inotify_ = Fd(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    if (!wake_.valid() || !inotify_.valid()) return fail_errno(errno, "cannot watch daemons");
    for (const fs::path& folder : TRY(list_folder(options_.state_folder))) {
      if (std::error_code ec; fs::is_directory(folder, ec)) follow(folder.filename().string());
    }
    watcher_ = std::jthread([this](const std::stop_token& stop) { watch(stop); });
    return {};
  }

  Result<EnsureOutcome> ensure(const DaemonSpec& spec) override {
    if (!is_name(spec.name))
      return fail(ErrorCode::invalid_input, fmt::format("'{}' is no name for a daemon", spec.name));
    const auto lock = lock_daemon(spec.name);
    TRYV(make_folders(folder_of(spec.name), 0700));
    // A shim that an agent began to start before it was killed may come up beside ours and win:
    // then it is seen, stopped, and ours gets its turn.
    const auto end = std::chrono::steady_clock::now() + kStopMargin;
    while (true) {
      auto outcome = start_once(spec);
      const bool lost = !outcome && outcome.error().code() == ErrorCode::locked;
      if (!lost || std::chrono::steady_clock::now() > end) return outcome;
    }
  }

  Status stop(const std::string& name, Duration timeout) override {
    const auto lock = lock_daemon(name);
    const ShimState state = settled_state(folder_of(name));
    return stop_shim(folder_of(name), state, open_shim(state), timeout);
  }

  Result<DaemonStatus> status(const std::string& name) override {
    ShimState state = read_state(folder_of(name));
    Fd shim = open_shim(state);
    // Of a shim that is gone the last word counts, which it may have said since.
    if (!shim.valid()) {
      state = read_state(folder_of(name));
      shim = open_shim(state);
    }
    DaemonStatus out;
    out.known = state.this_boot;
    if (!state.this_boot) return out;
    out.config_digest = state.config_digest;
    out.since = state.since;
    out.exit_status = state.exit_status;
    out.restarts = state.restarts;
    out.supervised = shim.valid() && state.state != "ended";
    out.running =
        state.state == "running" && out.supervised && open_process(state.pid, state.start).valid();
    out.ready = out.running && state.ready;
    out.pid = out.running ? state.pid : 0;
    // Killed together with its shim: nobody saw how it ended.
    if (!out.supervised && state.state != "ended") out.exit_status.reset();
    return out;
  }

  Status remove(const std::string& name) override {
    if (!is_name(name))
      return fail(ErrorCode::invalid_input, fmt::format("'{}' is no name for a daemon", name));
    const auto spec_text = read_file(folder_of(name) / "spec.json", 1U << 20U);
    const auto json = spec_text ? parse_json(*spec_text) : Result<Json>(Json());
    const auto spec = json ? daemon_spec_from_json(*json)
                           : Result<DaemonSpec>(tl::unexpected<Error>(json.error()));
    TRYV(stop(name, (spec ? spec->stop_timeout : Duration(seconds(30))) + kStopMargin));
    const auto lock = lock_daemon(name);
    remove_credentials(folder_of(name));
    return remove_tree(folder_of(name));
  }

  std::string log_tail(const std::string& name, std::size_t lines) override {
    const fs::path path = folder_of(name) / "log";
    const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd.valid()) return "";
    constexpr off_t kTail = 256 << 10;
    const off_t size = ::lseek(fd.get(), 0, SEEK_END);
    off_t begin = log_begin(name);
    if (begin > size) begin = 0;  // another file since
    begin = std::max(begin, size - kTail);
    ::lseek(fd.get(), begin, SEEK_SET);
    std::string text(static_cast<std::size_t>(size - begin), '\0');
    const ssize_t n = ::read(fd.get(), text.data(), text.size());
    text.resize(static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
    return last_lines(text, lines);
  }

  void on_state_change(StateChanged callback) override {
    const std::lock_guard lock(mutex_);
    callback_ = std::move(callback);
  }

 private:
  [[nodiscard]] fs::path folder_of(const std::string& name) const {
    return options_.state_folder / name;
  }

  void note_log_begin(const std::string& name) {
    std::error_code ec;
    const auto size = fs::file_size(folder_of(name) / "log", ec);
    const std::lock_guard lock(mutex_);
    log_begins_[name] = ec ? 0 : static_cast<off_t>(size);
  }
  [[nodiscard]] off_t log_begin(const std::string& name) {
    const std::lock_guard lock(mutex_);
    const auto it = log_begins_.find(name);
    return it == log_begins_.end() ? 0 : it->second;
  }

  std::unique_lock<std::mutex> lock_daemon(const std::string& name) {
    std::mutex* found = nullptr;
    {
      const std::lock_guard lock(mutex_);
      found = &daemon_locks_[name];
    }
    return std::unique_lock(*found);
  }

  // A shim takes the lock a moment before it writes its state; that moment is waited for.
  static ShimState settled_state(const fs::path& folder) {
    const auto end = std::chrono::steady_clock::now() + kStopMargin;
    while (true) {
      ShimState state = read_state(folder);
      const bool present = open_shim(state).valid() || !fs::exists(folder / "lock");
      if (present || FileLock::acquire(folder / "lock", "the daemon") ||
          std::chrono::steady_clock::now() > end)
        return state;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  }

  Result<EnsureOutcome> start_once(const DaemonSpec& spec) {
    const fs::path folder = folder_of(spec.name);
    const ShimState state = settled_state(folder);
    const Fd shim = open_shim(state);
    const bool at_work = shim.valid() && (state.state == "running" || state.state == "waiting");
    if (at_work && !fs::exists(folder / kStopping) && state.config_digest == spec.config_digest) {
      follow(spec.name);
      return EnsureOutcome::kept;
    }
    TRYV(stop_shim(folder, state, shim, spec.stop_timeout + kStopMargin));
    TRYV(write_file_atomic(folder / "spec.json", daemon_spec_to_json(spec).dump() + "\n", 0600));
    follow(spec.name);
    note_log_begin(spec.name);
    if (Status started = spawn(spec.name, folder); !started) {
      const std::string words = last_words(log_tail(spec.name, 10));
      if (!words.empty()) started.error().add_context("while starting it" + words);
      return tl::unexpected<Error>(std::move(started.error()));
    }
    follow(spec.name);
    return at_work ? EnsureOutcome::restarted : EnsureOutcome::started;
  }

  static Status stop_shim(const fs::path& folder, const ShimState& state, const Fd& shim,
                          Duration timeout) {
    if (!shim.valid()) {
      // A shim that was killed took its daemon along, but not what that one had started.
      if (state.this_boot && state.shim > 0 && process_start_time(state.shim) == 0)
        kill_session(state.shim, 0);
      // One that is just starting has locked the folder, and has them laid out.
      const auto idle = FileLock::acquire(folder / "lock", "the daemon");
      if (idle) remove_credentials(folder);
      if (!idle && idle.error().code() == ErrorCode::locked) {
        return fail(ErrorCode::locked,
                    fmt::format("a daemon runs, and {} does not say any more which one",
                                (folder / "state.json").string()))
            .hint(fmt::format("see who it is: fuser -v {}; end that process, and all goes on",
                              (folder / "lock").string()));
      }
      return remove_tree(folder / kStopping);
    }
    // Said before it is done: a shim that was told to end must not be taken for one that goes on.
    TRYV(write_file_atomic(folder / kStopping, "", 0600, Durability::cached));
    ::syscall(SYS_pidfd_send_signal, shim.get(), SIGTERM, nullptr, 0);
    bool gone =
        wait_for_end(shim, static_cast<int>(std::min<std::int64_t>(timeout.count(), INT_MAX)));
    if (!gone) {
      kill_session(state.shim, 0);
      gone = wait_for_end(shim, 5000);
    }
    if (gone) {
      remove_credentials(folder);  // it could not, if it had to be killed
      return remove_tree(folder / kStopping);
    }
    return fail(ErrorCode::timeout, fmt::format("the process {} cannot be killed", state.shim))
        .hint("look at its state in ps: it may hang in the kernel");
  }

  // Forks twice, so that init and not the agent is the parent: the shim outlives us and is no
  // zombie later.
  Status spawn(const std::string& name, const fs::path& folder) {
    std::array<int, 2> fds{};
    if (::pipe2(fds.data(), O_CLOEXEC) != 0) return fail_errno(errno, "cannot create a pipe");
    const Fd reading(fds[0]);
    Fd writing(fds[1]);
    std::vector<std::string> words = options_.shim_argv;
    words.push_back(folder.string());
    words.emplace_back("3");
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    const pid_t child = ::fork();
    if (child < 0) return fail_errno(errno, "cannot start a process");
    if (child == 0) {
      if (::fork() != 0) ::_exit(0);
      ::setsid();
      const int null = ::open("/dev/null", O_RDWR);
      for (const int fd : {0, 1, 2}) ::dup2(null, fd);
      if (writing.get() == 3) {
        ::fcntl(3, F_SETFD, 0);
      } else {
        ::dup2(writing.get(), 3);
      }
      ::syscall(SYS_close_range, 4U, ~0U, 0U);
      sigset_t none;
      sigemptyset(&none);
      ::sigprocmask(SIG_SETMASK, &none, nullptr);
      if (::chdir("/") == 0) ::execvp(argv[0], argv.data());
      constexpr std::string_view kText = "cannot run the shim";
      [[maybe_unused]] const ssize_t n = ::write(3, kText.data(), kText.size());
      ::_exit(127);
    }
    writing.reset();
    ::waitpid(child, nullptr, 0);
    const std::string answer = TRY(read_fd(reading.get(), "the shim's report", 65536));
    if (answer == "ok") return {};
    if (answer == kShimLocked)
      return fail(ErrorCode::locked, fmt::format("another shim starts the daemon {}", name));
    return fail(ErrorCode::io, fmt::format("the daemon {} did not start: {}", name,
                                           answer.empty() ? "its shim ended" : answer));
  }

  // Tells the watching thread to look at the daemon's folder and shim.
  void follow(const std::string& name) {
    const std::lock_guard lock(mutex_);
    const int wd =
        ::inotify_add_watch(inotify_.get(), folder_of(name).c_str(), IN_MOVED_TO | IN_ONLYDIR);
    if (wd >= 0) watched_[wd] = name;
    if (wd < 0)
      log_warn("cannot watch the daemon {}: its state is seen at the next pass only", name);
    Fd shim = open_shim(read_state(folder_of(name)));
    if (shim.valid()) shims_[name] = std::make_shared<Fd>(std::move(shim));
    wake();
  }

  void wake() const {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t n = ::write(wake_.get(), &one, sizeof one);
  }

  void watch(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      std::vector<pollfd> fds = {{wake_.get(), POLLIN, 0}, {inotify_.get(), POLLIN, 0}};
      std::vector<std::pair<std::string, std::shared_ptr<Fd>>> shims;
      {
        const std::lock_guard lock(mutex_);
        shims.assign(shims_.begin(), shims_.end());
      }
      for (const auto& [name, fd] : shims) fds.push_back({fd->get(), POLLIN, 0});
      if (::poll(fds.data(), fds.size(), -1) < 0 && errno != EINTR) return;
      std::uint64_t count = 0;
      [[maybe_unused]] const ssize_t n = ::read(wake_.get(), &count, sizeof count);
      std::set<std::string> changed = read_inotify();
      for (std::size_t i = 0; i < shims.size(); ++i) {
        if (fds[i + 2].revents == 0) continue;
        changed.insert(shims[i].first);
        const std::lock_guard lock(mutex_);
        const auto it = shims_.find(shims[i].first);
        if (it != shims_.end() && it->second == shims[i].second) shims_.erase(it);
      }
      StateChanged callback;
      {
        const std::lock_guard lock(mutex_);
        callback = callback_;
      }
      for (const std::string& name : changed) {
        if (callback && !stop.stop_requested()) callback(name);
      }
    }
  }

  std::set<std::string> read_inotify() {
    std::set<std::string> out;
    alignas(inotify_event) std::array<char, 16384> buffer{};
    ssize_t n = 0;
    while ((n = ::read(inotify_.get(), buffer.data(), buffer.size())) > 0) {
      for (ssize_t at = 0; at < n;) {
        const auto* event = reinterpret_cast<const inotify_event*>(buffer.data() + at);
        at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
        const std::lock_guard lock(mutex_);
        const auto it = watched_.find(event->wd);
        const bool state = event->len > 0 && std::string_view(event->name) == "state.json";
        if (it != watched_.end() && state) out.insert(it->second);
        if (it != watched_.end() && (event->mask & IN_IGNORED) != 0) watched_.erase(it);
        if ((event->mask & IN_Q_OVERFLOW) != 0) {
          for (const auto& [wd, name] : watched_) out.insert(name);
        }
      }
    }
    return out;
  }

  NativeOptions options_;
  std::mutex mutex_;
  std::map<std::string, std::mutex> daemon_locks_;
  std::map<std::string, off_t> log_begins_;  // daemon → how long its log was when it was started
  std::map<int, std::string> watched_;
  std::map<std::string, std::shared_ptr<Fd>> shims_;
  StateChanged callback_;
  Fd wake_;
  Fd inotify_;
  std::jthread watcher_;
};

}  // namespace

Result<std::unique_ptr<Supervisor>> make_native_supervisor(NativeOptions options) {
  auto out = std::make_unique<NativeSupervisor>(std::move(options));
  TRYV(out->begin());
  return out;
}

}  // namespace consort::agent
