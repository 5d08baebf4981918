// what keeping 10 000 files costs, and how fast drift is repaired
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstring>
#include <thread>

#include "agent/converge.h"
#include "base/digest.h"
#include "bench/agent_process.h"
#include "bench/measure.h"
#include "bench/system_calls.h"

namespace {

using namespace consort;
using namespace consort::bench;

constexpr int kFiles = 10'000;
constexpr int kRuns = 7;
constexpr int kFolders = 100;
constexpr std::size_t kBytes = 190;

std::string path_of(int i) { return fmt::format("/srv/d{:02}/file{:05}.conf", i % kFolders, i); }

std::string content_of(int i) {
  std::string out = fmt::format("# file {}\n", i);
  while (out.size() < kBytes) out += static_cast<char>('a' + (out.size() * 7) % 26);
  out.resize(kBytes);
  return out;
}

Json spec_of(int i) {
  return Json::object({{"type", "file"},
                       {"path", path_of(i)},
                       {"content", content_of(i)},
                       {"mode", "0640"},
                       {"owner", "bench"}});
}

// A host's root with the folders and the account that the files need.
void make_root(const fs::path& root) {
  must(make_folders(root / "etc"));
  for (int i = 0; i < kFolders; ++i) must(make_folders(root / fmt::format("srv/d{:02}", i)));
  must(write_file_atomic(root / "etc/passwd",
                         fmt::format("bench:x:{}:{}::/:/bin/sh\n", ::getuid(), ::getgid())));
}

class Files {
 public:
  explicit Files(const fs::path& folder) : root_(folder / "root"), state_(folder / "state") {
    make_root(root_);
    for (int i = 0; i < kFiles; ++i) paths_.push_back(root_.string() + path_of(i));
  }

  void measure(Record& record) {
    first_pass(record);
    // Stamps are trusted once the files are some ticks old.
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    pass(agent::Audit::full);
    no_change(record);
    full_audit(record);
  }

 private:
  // A host that has seen nothing of this yet.
  void begin_anew() {
    for (const std::string& path : paths_) ::unlink(path.c_str());
    converger_.reset();
    fs::remove_all(state_);
    agent::ConvergerOptions options;
    options.root = root_;
    options.state_folder = state_;
    converger_ = must(agent::Converger::create(std::move(options)));
    std::map<std::string, Json> specs;
    for (int i = 0; i < kFiles; ++i) specs.emplace(fmt::format("f{:05}", i), spec_of(i));
    must(converger_->set_resources(specs));
  }

  void pass(agent::Audit audit) {
    agent::PassOptions options;
    options.audit = audit;
    const agent::PassReport report = converger_->pass(options);
    if (report.failed + report.skipped > 0) give_up(agent::render_report(report).substr(0, 500));
  }

  void write_floor() const {
    for (int i = 0; i < kFiles; ++i) {
      const std::string& path = paths_[static_cast<std::size_t>(i)];
      const std::string temp = path + ".new";
      const std::string content = content_of(i);
      const Fd fd(::open(temp.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
      if (!fd.valid() || ::write(fd.get(), content.data(), content.size()) < 0 ||
          ::fchmod(fd.get(), 0640) != 0 || ::rename(temp.c_str(), path.c_str()) != 0)
        give_up("cannot write " + path);
    }
  }

  void stat_floor() const {
    for (const std::string& path : paths_) {
      struct stat info {};
      if (::lstat(path.c_str(), &info) != 0) give_up("cannot stat " + path);
    }
  }

  void hash_floor() const {
    Hasher hasher;
    std::array<char, 4096> buffer{};
    for (const std::string& path : paths_) {
      const Fd fd(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
      struct stat info {};
      if (!fd.valid() || ::fstat(fd.get(), &info) != 0) give_up("cannot open " + path);
      const ssize_t n = ::read(fd.get(), buffer.data(), buffer.size());
      hasher.update({buffer.data(), static_cast<std::size_t>(n)});
      static_cast<void>(hasher.finish());
    }
  }

  void first_pass(Record& record) {
    say("first pass: all files absent");
    const Cost floor = median_cost(
        kRuns, [&] { write_floor(); }, [&] { begin_anew(); });
    const Cost cost = median_cost(
        kRuns, [&] { pass(agent::Audit::changed_only); }, [&] { begin_anew(); });
    record.add({"first pass, processor time", cost.cpu, "s", floor.cpu,
                "open, write, fchmod, rename, for each file", 2});
    record.add({"first pass, wall clock", cost.wall, "s", floor.wall, "the same, one thread", {}});
  }

  void no_change(Record& record) {
    say("pass without a change");
    const Cost floor = median_cost(kRuns, [&] { stat_floor(); });
    const Cost cost = median_cost(kRuns, [&] { pass(agent::Audit::changed_only); });
    record.add(
        {"no-change pass, processor time", cost.cpu, "s", floor.cpu, "lstat of each file", 2});
    const auto calls = count_system_calls([&] { pass(agent::Audit::changed_only); });
    record.add({"no-change pass, system calls per file",
                static_cast<double>(calls) / kFiles,
                "",
                {},
                "",
                6});
  }

  void full_audit(Record& record) {
    say("full audit");
    const Cost floor = median_cost(kRuns, [&] { hash_floor(); });
    const Cost cost = median_cost(kRuns, [&] { pass(agent::Audit::full); });
    record.add({"full audit, processor time", cost.cpu, "s", floor.cpu,
                "open, fstat, read, SHA-256, close, for each file", 1.5});
    const auto calls = count_system_calls([&] { pass(agent::Audit::full); });
    record.add(
        {"full audit, system calls per file", static_cast<double>(calls) / kFiles, "", {}, "", 6});
  }

  fs::path root_;
  fs::path state_;
  std::vector<std::string> paths_;
  std::unique_ptr<agent::Converger> converger_;
};

using Steady = std::chrono::steady_clock;

double milliseconds_since(Steady::time_point begun) {
  return std::chrono::duration<double, std::milli>(Steady::now() - begun).count();
}

// Waits until the name in this folder has been replaced.
class Replacement {
 public:
  explicit Replacement(const std::string& folder) : fd_(::inotify_init1(IN_CLOEXEC)) {
    if (::inotify_add_watch(fd_.get(), folder.c_str(), IN_MOVED_TO) < 0)
      give_up("cannot watch " + folder);
  }
  void wait() const {
    pollfd item{fd_.get(), POLLIN, 0};
    alignas(inotify_event) std::array<char, 4096> buffer{};
    if (::poll(&item, 1, 20'000) != 1 || ::read(fd_.get(), buffer.data(), buffer.size()) <= 0)
      give_up("the agent has not repaired a file in 20 s");
  }

 private:
  Fd fd_;
};

void overwrite(const std::string& path, std::string_view text) {
  const Fd fd(::open(path.c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC));
  must(write_all(fd.get(), text, path));
}

// Each file once: an agent holds back where something keeps undoing its repairs.
void file_drift(Record& record, const fs::path& root) {
  say("drift of files, repaired by a whole agent");
  constexpr int kSamples = 300;
  std::vector<double> floors;
  const fs::path aside = root / "floor";
  must(make_folders(aside));
  for (int i = 0; i < kSamples; ++i) {
    // One thread hears of the change and renames a file that is ready.
    const std::string path = (aside / fmt::format("f{}", i)).string();
    must(write_file_atomic(path, "right", 0640, Durability::cached));
    const Fd watch(::inotify_init1(IN_CLOEXEC));
    ::inotify_add_watch(watch.get(), aside.c_str(), IN_CLOSE_WRITE);
    const Replacement replaced(aside.string());
    std::jthread repairer([&] {
      alignas(inotify_event) std::array<char, 4096> buffer{};
      if (::read(watch.get(), buffer.data(), buffer.size()) > 0)
        must(write_file_atomic(path, "right", 0640, Durability::cached));
    });
    const auto begun = Steady::now();
    overwrite(path, "wrong");
    replaced.wait();
    floors.push_back(milliseconds_since(begun));
  }
  std::vector<double> times;
  for (int i = 0; i < kSamples; ++i) {
    const std::string path = root.string() + path_of(i * 7);
    const Replacement replaced(path.substr(0, path.rfind('/')));
    const auto begun = Steady::now();
    overwrite(path, "wrong");
    replaced.wait();
    times.push_back(milliseconds_since(begun));
  }
  record.add({"file drift to repaired, p50", median(times), "ms", {}, "", {}});
  record.add({"file drift to repaired, p99", percentile(times, 0.99), "ms", {}, "", 5});
  record.add({"floor of file drift, p50", median(floors), "ms", {}, "inotify, write, rename", {}});
  record.add({"floor of file drift, p99", percentile(floors, 0.99), "ms", {}, "", {}});
}

class PidListener {
 public:
  explicit PidListener(const fs::path& path)
      : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un at{};
    at.sun_family = AF_UNIX;
    std::strncpy(at.sun_path, path.c_str(), sizeof at.sun_path - 1);
    if (::bind(fd_.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0 ||
        ::listen(fd_.get(), 64) != 0)
      give_up("cannot listen on " + path.string());
  }
  [[nodiscard]] pid_t next() const {
    pollfd item{fd_.get(), POLLIN, 0};
    if (::poll(&item, 1, 30'000) != 1) give_up("a daemon was not started again in 30 s");
    const Fd peer(::accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    pid_t pid = 0;
    if (::read(peer.get(), &pid, sizeof pid) != sizeof pid) give_up("a daemon said nothing");
    return pid;
  }

 private:
  Fd fd_;
};

void daemon_drift(Record& record, const PidListener& listener, std::vector<pid_t> pids) {
  say("killed daemons, restarted by the native supervisor");
  std::vector<double> times;
  for (const pid_t pid : pids) {
    const auto begun = Steady::now();
    ::kill(pid, SIGKILL);
    static_cast<void>(listener.next());
    times.push_back(milliseconds_since(begun));
  }
  record.add({"killed daemon to running, p50", median(times), "ms", {}, "", {}});
  record.add({"killed daemon to running, p99", percentile(times, 0.99), "ms", {}, "", 50});
}

// The shims of the daemons may still write their last words there.
void remove_in_the_end(const fs::path& folder) {
  std::error_code ec;
  for (int i = 0; i < 200; ++i) {
    fs::remove_all(folder, ec);
    if (!ec) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  give_up("cannot remove " + folder.string() + ": " + ec.message());
}

void whole_agent(Record& record, const fs::path& folder) {
  constexpr int kDaemons = 40;
  make_root(folder / "root");
  plan::Manifest files;
  files.service = "files";
  files.host_class = "bench";
  for (int i = 0; i < kFiles; ++i) files.resources[fmt::format("f{:05}", i)] = spec_of(i);
  plan::Manifest daemons;
  daemons.service = "daemons";
  daemons.host_class = "bench";
  const PidListener listener(folder / "tell");
  for (int i = 0; i < kDaemons; ++i) {
    daemons.resources[fmt::format("d{}", i)] = Json::object(
        {{"type", "daemon"}, {"argv", Json::array_of(telling_daemon(folder / "tell"))}});
  }
  say("a whole agent applies 10 000 files and some daemons");
  {
    const auto agent = AgentProcess::start(folder, {files, daemons});
    std::vector<pid_t> pids;
    for (int i = 0; i < kDaemons; ++i) pids.push_back(listener.next());
    file_drift(record, folder / "root");
    daemon_drift(record, listener, std::move(pids));
  }
  remove_in_the_end(folder / "data");
  say("memory and processor time at rest, in an agent that has only the files");
  const auto agent = AgentProcess::start(folder, {files});
  std::this_thread::sleep_for(std::chrono::seconds(3));
  const double cpu = cpu_of_process(agent->pid());
  constexpr int kRest = 10;
  std::this_thread::sleep_for(std::chrono::seconds(kRest));
  record.add({"idle memory (RssAnon)",
              static_cast<double>(anonymous_memory(agent->pid())) / 1e6,
              "MB",
              {},
              "",
              12});
  record.add({"idle processor time, of a second",
              (cpu_of_process(agent->pid()) - cpu) / kRest,
              "s",
              {},
              "",
              0.001});
}

}  // namespace

int main(int argc, char** argv) {
  if (const auto status = run_as_part(argc, argv)) return *status;
  const TempFolder folder = must(TempFolder::create("consort-bench-agent", "/dev/shm"));
  Record record("agent");
  must(make_folders(folder.path() / "files"));
  Files(folder.path() / "files").measure(record);
  whole_agent(record, folder.path());
  record.print();
  return 0;
}
