#include "platform/keeper.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <thread>

#include "base/json_reader.h"
#include "base/text.h"
#include "platform/control_groups.h"

namespace consort::platform {
namespace {

constexpr int kRebootStatus = 133;  // EXIT_FORCE_RESTART of systemd-nspawn --keep-unit
constexpr std::array<std::string_view, 3> kRestartWords = {"never", "always", "on-reboot"};

Json keep_to_json(const Keep& keep) {
  Json environment = Json::object();
  for (const auto& [key, value] : keep.environment) environment[key] = value;
  return Json::object({{"argv", Json::array_of(keep.argv)},
                       {"environment", environment},
                       {"restart", kRestartWords[static_cast<std::size_t>(keep.restart)]},
                       {"controlGroup", keep.control_group}});
}

Result<Keep> read_keep(const fs::path& path) {
  const Json json = TRY(parse_json(TRY(read_file(path)), path.string()));
  JsonReader reader(json, "");
  Keep out;
  out.argv = reader.strings("argv");
  for (const auto& [key, value] : reader.object("environment"))
    out.environment[key] = value.is_string() ? value.as_string() : value.dump();
  const std::string restart = reader.string("restart");
  for (std::size_t i = 0; i < kRestartWords.size(); ++i) {
    if (restart == kRestartWords[i]) out.restart = static_cast<Keep::Restart>(i);
  }
  out.control_group = reader.string("controlGroup");
  TRYV(reader.finish());
  if (out.argv.empty())
    return fail(ErrorCode::corrupt, fmt::format("{} names no program", path.string()));
  return out;
}

// One life of a keeper process.
class KeeperProcess {
 public:
  explicit KeeperProcess(const fs::path& base) : base_(base) {}

  Result<int> run() {
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    sigset_t watched;
    sigemptyset(&watched);
    for (const int s : {SIGCHLD, SIGTERM, SIGINT, SIGHUP}) sigaddset(&watched, s);
    ::sigprocmask(SIG_BLOCK, &watched, nullptr);
    TRYV(launch());
    while (true) {
      siginfo_t info{};
      if (::sigwaitinfo(&watched, &info) < 0 && errno != EINTR)
        return fail_errno(errno, "cannot wait for signals");
      if (info.si_signo == SIGTERM || info.si_signo == SIGINT) leaving_ = true;
      if (leaving_ && program_ > 0) ::kill(program_, SIGTERM);
      bool ended = false;
      const int status = reap(ended);
      if (!ended) continue;
      const Keep keep = TRY(read_keep(base_.string() + ".keep"));
      const bool again = keep.restart == Keep::Restart::always ||
                         (keep.restart == Keep::Restart::on_reboot && status == kRebootStatus);
      if (leaving_ || !again) {
        kill_trees(descendants_of(::getpid()));
        return status;
      }
      // Not faster than this, whatever goes wrong.
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
      TRYV(launch());
    }
  }

 private:
  int reap(bool& ended) {
    int out = 0;
    int status = 0;
    for (pid_t pid = 0; (pid = ::waitpid(-1, &status, WNOHANG)) > 0;) {
      if (pid != program_) continue;
      ended = true;
      out = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
      program_ = 0;
    }
    return out;
  }

  Status launch() {
    const Keep keep = TRY(read_keep(base_.string() + ".keep"));
    std::vector<std::string> words = keep.argv;
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    const pid_t pid = ::fork();
    if (pid < 0) return fail_errno(errno, "cannot start a process");
    if (pid == 0) {
      sigset_t none;
      sigemptyset(&none);
      ::sigprocmask(SIG_SETMASK, &none, nullptr);
      ::setsid();
      for (const auto& [key, value] : keep.environment) ::setenv(key.c_str(), value.c_str(), 1);
      if (!keep.control_group.empty()) join_control_group(keep.control_group);
      ::execvp(argv[0], argv.data());
      ::dprintf(2, "cannot run %s: errno %d\n", argv[0], errno);
      ::_exit(127);
    }
    program_ = pid;
    const Json state = Json::object({{"keeper", process_id_to_json(identify(::getpid()))},
                                     {"program", process_id_to_json(identify(pid))}});
    return write_file_atomic(base_.string() + ".state", state.dump() + "\n", 0644,
                             Durability::cached);
  }

  fs::path base_;
  pid_t program_ = 0;
  bool leaving_ = false;
};

}  // namespace

Result<int> keep_main(const fs::path& base) { return KeeperProcess(base).run(); }

Json Keeper::state() const {
  const auto text = read_file(base_.string() + ".state");
  if (!text) return {};
  return parse_json(*text).value_or(Json());
}

ProcessId Keeper::keeper() const {
  const Json all = state();
  const Json* found = all.find("keeper");
  return found != nullptr ? process_id_from_json(*found) : ProcessId{};
}

ProcessId Keeper::program() const {
  const Json all = state();
  const Json* found = all.find("program");
  return found != nullptr ? process_id_from_json(*found) : ProcessId{};
}

std::string Keeper::mark() const { return fmt::format("{}={}", kPartVariable, part_); }

bool Keeper::running() const { return is_alive(keeper()); }

bool Keeper::lost() const {
  return !running() && (is_alive(program()) || !marked_with(mark()).empty());
}

// What it keeps has just ended: it starts it again, or is about to end, too.
void Keeper::wait_until_settled() const {
  for (int tries = 0; tries < 2000 && running() && !is_alive(program()); ++tries)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
}

Status Keeper::start(const fs::path& self, const Keep& order) const {
  wait_until_settled();
  if (running()) return {};
  if (lost()) stop();
  Keep keep = order;
  keep.environment[kPartVariable] = part_;
  TRYV(make_folders(base_.parent_path()));
  TRYV(write_file_atomic(base_.string() + ".keep", keep_to_json(keep).dump() + "\n", 0600,
                         Durability::cached));
  std::error_code ignored;
  fs::remove(base_.string() + ".state", ignored);
  const std::string program = self.string();
  const std::string base = base_.string();
  const std::string log = log_file().string();
  const std::string marker =
      keep.environment.contains(kMemberVariable) ? keep.environment.at(kMemberVariable) : "";
  const pid_t pid = ::fork();
  if (pid < 0) return fail_errno(errno, "cannot start a process");
  if (pid == 0) {
    ::setsid();
    // The second fork: nobody has to wait for the keeper, and no terminal can become its own.
    if (::fork() != 0) ::_exit(0);
    const int null = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    ::dup2(null, 0);
    ::dup2(out, 1);
    ::dup2(out, 2);
    ::close_range(3, ~0U, 0);
    for (int s = 1; s < 32; ++s) ::signal(s, SIG_DFL);
    if (!marker.empty()) ::setenv(kMemberVariable, marker.c_str(), 1);
    ::setenv(kPartVariable, part_.c_str(), 1);
    ::execl(program.c_str(), program.c_str(), "lab-keep", base.c_str(),
            static_cast<char*>(nullptr));
    ::_exit(127);
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  // Half a minute: the machine may be busy.
  for (int tries = 0; tries < 6000; ++tries) {
    if (running()) return {};
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return fail(ErrorCode::internal, fmt::format("{} did not start", quote_argv(keep.argv)))
      .hint(fmt::format("see {}", log));
}

Result<Keep> Keeper::order() const { return read_keep(base_.string() + ".keep"); }

Status Keeper::restart_with(const Keep& order) const {
  const ProcessId process = program();
  if (lost())
    return fail(ErrorCode::unavailable, "it runs, but the process that kept it was killed")
        .hint("consort lab start ends what is left and starts it anew");
  if (!running())
    return fail(ErrorCode::not_found, "it does not run").hint("start it first: consort lab start");
  Keep keep = order;
  keep.environment[kPartVariable] = part_;
  TRYV(write_file_atomic(base_.string() + ".keep", keep_to_json(keep).dump() + "\n", 0600,
                         Durability::cached));
  if (is_alive(process)) ::kill(process.pid, SIGTERM);
  if (!wait_for_end(process, seconds(10))) ::kill(process.pid, SIGKILL);
  return {};
}

void Keeper::stop(Duration grace) const {
  // A keeper passes SIGTERM on; without one the program gets it from us.
  const ProcessId process = running() ? keeper() : program();
  if (is_alive(process)) ::kill(process.pid, SIGTERM);
  if (!wait_for_end(process, grace) || lost()) kill();
}

void Keeper::kill() const {
  for (const ProcessId& process : {keeper(), program()}) {
    if (is_alive(process)) kill_trees({process.pid});
  }
  kill_marked(mark());
}

std::string Keeper::last_words() const {
  const auto text = read_file(log_file());
  return text ? last_lines(*text, 8) : "";
}

}  // namespace consort::platform
