#include "agent/hooks.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <charconv>
#include <csignal>
#include <thread>

#include "agent/history.h"
#include "base/process.h"
#include "base/text.h"

namespace consort::agent {
namespace {

constexpr std::size_t kTailLines = 20;
constexpr std::size_t kTailBytes = 8192;
constexpr std::uint64_t kLogBytes = 1U << 20U;  // then log becomes log.1
constexpr std::uint64_t kLogBytesPerRun = 256U << 10U;

// What the hook prints: its begin goes to the log, its end becomes the tail. Memory is bounded.
class HookOutput {
 public:
  HookOutput(fs::path log, std::string title, bool failures_only)
      : log_(std::move(log)), title_(std::move(title)) {
    if (!failures_only) open();
  }
  void take(std::string_view bytes) {
    const std::uint64_t room = kLogBytesPerRun - std::min(written_, kLogBytesPerRun);
    if (room > 0) write(bytes.substr(0, room));
    written_ += bytes.size();
    tail_.append(bytes.size() > 2 * kTailBytes ? bytes.substr(bytes.size() - 2 * kTailBytes)
                                               : bytes);
    if (tail_.size() > 4 * kTailBytes) tail_.erase(0, tail_.size() - 2 * kTailBytes);
  }
  void close(const std::string& line, bool ok) {
    if (!fd_.valid() && !ok) {
      open();
      write(tail() + "\n");
    }
    if (written_ > kLogBytesPerRun)
      write(fmt::format("\n[… {} bytes more are not kept]\n", written_ - kLogBytesPerRun));
    write(fmt::format("--- {}\n", line));
  }
  [[nodiscard]] std::string tail() const {
    const std::string lines = last_lines(tail_, kTailLines);
    return presentable(lines.size() > kTailBytes
                           ? std::string_view(lines).substr(lines.size() - kTailBytes)
                           : lines,
                       kTailBytes);
  }

 private:
  void open() {
    std::error_code ec;
    if (fs::file_size(log_, ec) > kLogBytes && !ec) fs::rename(log_, log_.string() + ".1", ec);
    fd_ = Fd(::open(log_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640));
    write(fmt::format("--- {}\n", title_));
  }
  // A full disk must not fail the hook: what it prints is only a story.
  void write(std::string_view bytes) const {
    if (fd_.valid())
      static_cast<void>(write_all(fd_.get(), bytes, "the service's log").has_value());
  }
  fs::path log_;
  std::string title_;
  Fd fd_;
  std::uint64_t written_ = 0;
  std::string tail_;
};

std::string variable_of(const std::string& artifact) {
  std::string out = "CONSORT_ARTIFACT_";
  for (const char c : artifact)
    out += std::isalnum(static_cast<unsigned char>(c)) != 0
               ? static_cast<char>(std::toupper(static_cast<unsigned char>(c)))
               : '_';
  return out;
}

Status renew(const fs::path& folder) {
  TRYV(remove_tree(folder));
  return make_folders(folder, 0700);
}

class HookProcess {
 public:
  HookProcess(Workshop& workshop, const std::string& service, const HookRun& run,
              const plan::Hook& hook)
      : shop_(workshop),
        service_(service),
        run_(run),
        hook_(hook),
        files_(workshop.host, service) {}

  Result<ProcessOutcome> perform(HookOutput& output) {
    for (const Version* version : {run_.old_version, run_.new_version, run_.owner}) {
      if (version != nullptr) TRYV(files_.unpack(shop_.store, *version));
    }
    // Health is asked beside a transition's hooks: each run has a scratch folder of its own.
    static std::atomic<std::uint64_t> runs = 0;
    const fs::path own = files_.folder() / "scratch" / fmt::format("{}-{}", run_.name, ++runs);
    TRYV(renew(own));
    ProcessSpec spec;
    spec.argv = TRY(command_line());
    spec.environment = environment(own);
    spec.folder = own;
    spec.input =
        Json::object({{"old", describe(run_.old_version)}, {"new", describe(run_.new_version)}})
            .dump() +
        "\n";
    spec.timeout = std::min(hook_.timeout, run_.limit.value_or(hook_.timeout));
    spec.output_limit = 4096;
    spec.on_output = [&output](std::string_view bytes) { output.take(bytes); };
    spec.on_start = [&](pid_t pid) { shop_.hooks->add(pid); };
    // Before it is reaped: a number that is free again may be anybody's when all hooks are ended.
    spec.on_end = [&](pid_t pid) { shop_.hooks->remove(pid); };
    auto outcome = run_process(spec);
    // Another thread that forks just now holds the fresh program open for writing until it has
    // become its own program: a moment later it can be run.
    for (int tries = 0; !outcome && tries < 20 &&
                        outcome.error().message().find("Text file busy") != std::string::npos;
         ++tries) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      outcome = run_process(spec);
    }
    static_cast<void>(remove_tree(own).has_value());
    return outcome;
  }

 private:
  Result<std::vector<std::string>> command_line() {
    std::vector<std::string> out;
    if (!hook_.program.is_none()) {
      const fs::path program = files_.folder() / "hooks" / hook_.program.brief();
      const auto there = read_file(program);
      if (!there || Digest::of(*there) != hook_.program) {
        TRYV(make_folders(program.parent_path(), 0755));
        TRYV(shop_.store.materialise(hook_.program, program, 0700));
      }
      out.push_back(program.string());
    }
    const Json words = TRY(
        files_.fill(Json::array_of(hook_.argv), *run_.owner, fmt::format("hooks.{}", run_.name)));
    for (const Json& word : words.as_array()) out.push_back(word.as_string());
    return out;
  }

  std::map<std::string, std::string> environment(const fs::path& scratch) {
    const auto folder = [&](const Version* version) {
      return version == nullptr ? std::string() : files_.version(version->digest).string();
    };
    std::map<std::string, std::string> out = {
        {"CONSORT_HOOK", run_.name},
        {"CONSORT_DIRECTION", run_.direction},
        {"CONSORT_HOST", shop_.host.name},
        {"CONSORT_ADDRESS", shop_.host.address},
        {"CONSORT_SERVICE", service_},
        {"CONSORT_OLD", folder(run_.old_version)},
        {"CONSORT_NEW", folder(run_.new_version)},
        {"CONSORT_DATA", files_.data().string()},
        {"CONSORT_RUN", files_.run().string()},
        {"CONSORT_SNAPSHOT", run_.snapshot.string()},
        {"CONSORT_SCRATCH", scratch.string()},
        {"CONSORT_TOKEN", run_.token},
        {"CONSORT_ROOT", shop_.host.root.string()},
    };
    for (const auto& [name, artifact] : run_.owner->manifest.artifacts)
      out[variable_of(name)] = files_.artifact(artifact.digest).string();
    return out;
  }

  [[nodiscard]] Json describe(const Version* version) const {
    return version == nullptr ? Json() : files_.describe(*version);
  }

  Workshop& shop_;
  const std::string& service_;
  const HookRun& run_;
  const plan::Hook& hook_;
  ServiceFiles files_;
};

transition::StepResult result_of(const std::string& name, const plan::Hook& hook,
                                 const Result<ProcessOutcome>& outcome, const HookRun& run) {
  transition::StepResult out;
  if (!outcome) {
    out.status = transition::StepStatus::failed;
    out.message = fmt::format("the hook {} cannot be run: {}", name, outcome.error().message());
    if (!outcome.error().hint_text().empty()) out.message += "; " + outcome.error().hint_text();
    return out;
  }
  out.exit_status = outcome->status;
  out.status = transition::status_of_exit(outcome->status, outcome->timed_out);
  if (outcome->timed_out) {
    out.message =
        fmt::format("the hook {} did not end within {} and was killed", name,
                    human_duration(std::min(hook.timeout, run.limit.value_or(hook.timeout))));
  } else if (outcome->signal != 0) {
    out.message = fmt::format("the hook {} was ended by signal {}", name, outcome->signal);
  } else if (outcome->status != 0) {
    out.message = fmt::format("the hook {} ended with status {}", name, outcome->status);
  }
  return out;
}

}  // namespace

void RunningHooks::add(pid_t group) {
  const std::lock_guard lock(mutex_);
  groups_.insert(group);
  if (ended_) ::kill(-group, SIGKILL);
}

void RunningHooks::remove(pid_t group) {
  const std::lock_guard lock(mutex_);
  groups_.erase(group);
}

bool RunningHooks::ended() const {
  const std::lock_guard lock(mutex_);
  return ended_;
}

void RunningHooks::end_all() {
  const std::lock_guard lock(mutex_);
  ended_ = true;
  for (const pid_t group : groups_) ::kill(-group, SIGKILL);
}

transition::StepResult run_hook(Workshop& workshop, const std::string& service,
                                const HookRun& run) {
  const plan::Hook* hook = run.owner == nullptr ? nullptr : run.owner->manifest.hook(run.name);
  if (hook == nullptr) return {};
  const std::string title =
      fmt::format("{} {} of {}", format_instant(SystemClock().now()), run.name,
                  run.owner->manifest.version.empty() ? run.owner->digest.brief()
                                                      : run.owner->manifest.version);
  const ServiceFiles files(workshop.host, service);
  static_cast<void>(make_folders(files.folder(), 0755).has_value());
  HookOutput output(files.folder() / "log", title, run.log_failures_only);
  const auto outcome = HookProcess(workshop, service, run, *hook).perform(output);
  transition::StepResult result = result_of(run.name, *hook, outcome, run);
  output.close(result.message.empty() ? fmt::format("{} is done", run.name) : result.message,
               result.message.empty());
  if (result.status != transition::StepStatus::ok) result.tail = output.tail();
  return result;
}

void end_leftovers(const fs::path& data, const std::string& token) {
  const std::string wanted_token = fmt::format("CONSORT_TOKEN={}", token);
  const std::string wanted_data = fmt::format("CONSORT_DATA={}", data.string());
  std::error_code ec;
  for (const auto& item : fs::directory_iterator("/proc", ec)) {
    const std::string name = item.path().filename().string();
    pid_t pid = 0;
    if (std::from_chars(name.data(), name.data() + name.size(), pid).ptr !=
            name.data() + name.size() ||
        pid == ::getpid())
      continue;
    const auto environment = read_file(item.path() / "environ", 1U << 20U);
    if (!environment) continue;
    const std::vector<std::string> entries = split(*environment, '\0');
    const auto has = [&](const std::string& entry) {
      return std::find(entries.begin(), entries.end(), entry) != entries.end();
    };
    if (has(wanted_token) && has(wanted_data)) ::kill(pid, SIGKILL);
  }
}

}  // namespace consort::agent
