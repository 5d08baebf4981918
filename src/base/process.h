// Running other programs: argv (never a shell), bounded output, a time limit that ends the whole
// process group. Blocking; run it on a worker thread. Thread-safe.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/time.h"

namespace consort {

struct ProcessSpec {
  std::vector<std::string> argv;  // argv[0] is looked up in PATH when it has no '/'
  std::map<std::string, std::string> environment;  // added to (or instead of) our own
  bool clear_environment = false;
  fs::path folder;                 // working directory; empty: ours
  std::string input;               // written to standard input, then closed
  Duration timeout = seconds(60);  // then SIGTERM, and after `grace` SIGKILL, to the group
  Duration grace = seconds(2);
  std::size_t output_limit = 1U << 20U;  // of each stream; what is over is dropped from the middle
  std::optional<uid_t> uid;              // run as this user (needs root)
  std::optional<gid_t> gid;              // always, where there is a uid
  std::vector<gid_t> groups;             // supplementary ones; with `gid`, there are no others
  std::function<void(std::string_view)> on_output;  // sees both streams as they come (same thread)
  std::function<void(pid_t)> on_start;              // the pid of the group's leader
  std::function<void(pid_t)> on_end;                // it has ended, and its pid is still its own
};

struct ProcessOutcome {
  int status = -1;  // exit status, or 128 + signal
  int signal = 0;   // the signal that ended it, or 0
  bool timed_out = false;
  std::string output;  // stdout
  std::string errors;  // stderr
  Duration elapsed{};
  [[nodiscard]] bool ok() const { return status == 0 && !timed_out; }
};

// Errors: not_found / io when the program cannot be started at all (its exec failed); invalid_input
// for no program, and for a uid without a gid: our own groups would stay with it.
[[nodiscard]] Result<ProcessOutcome> run_process(const ProcessSpec& spec);

// The edge interface for shells whose tests want to see what was run.
class ProcessRunner {
 public:
  ProcessRunner() = default;
  ProcessRunner(const ProcessRunner&) = delete;
  ProcessRunner& operator=(const ProcessRunner&) = delete;
  virtual ~ProcessRunner() = default;
  [[nodiscard]] virtual Result<ProcessOutcome> run(const ProcessSpec& spec) = 0;
};

class SystemProcessRunner final : public ProcessRunner {
 public:
  [[nodiscard]] Result<ProcessOutcome> run(const ProcessSpec& spec) override {
    return run_process(spec);
  }
};

// A program that a file in `folder` names: it runs there, and relative paths of it start there.
[[nodiscard]] ProcessSpec program_from(const fs::path& folder, std::vector<std::string> argv);

// For messages and shells: each word quoted when it needs it, on one line whatever is in it ($'…',
// which bash reads, where there are control characters).
[[nodiscard]] std::string quote_argv(const std::vector<std::string>& argv);

// This process holds keys or values of secrets: from now on it leaves no core dump, and no other
// process of its user can read its memory. Programs that it starts are not concerned.
void forbid_core_dumps();

// This process may have as many open files as it is permitted at all: its soft limit becomes the
// hard one. Programs that it starts inherit that. Returns the limit.
std::size_t allow_many_files();

}  // namespace consort
