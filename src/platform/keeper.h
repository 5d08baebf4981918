// A keeper is a small process of ours that keeps one program of a lab running and is the parent of
// all that the program leaves behind, so that everything can be found and ended. Its order is a
// file; its state is a file beside it.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/process.h"
#include "platform/process_tree.h"

namespace consort::platform {

struct Keep {
  std::vector<std::string> argv;
  std::map<std::string, std::string> environment;  // added to ours
  // When the program ends by itself: never again; always (as systemd's Restart=always); or only
  // after exit status 133, which is how systemd-nspawn says that the system inside wants to reboot.
  enum class Restart : std::uint8_t { never, always, on_reboot };
  Restart restart = Restart::never;
  std::string
      control_group;  // "consort-lab/NAME/HOST": joined before the program starts; "" for none
};

class Keeper {
 public:
  // `base` is a path without extension: base.keep, base.state and base.log are its files.
  explicit Keeper(fs::path base) : base_(std::move(base)) {}

  // Writes the order and starts the keeper, detached from us. `self` is the consort program. Does
  // nothing when it runs already.
  [[nodiscard]] Status start(const fs::path& self, const Keep& keep) const;
  [[nodiscard]] bool running() const;
  [[nodiscard]] ProcessId keeper() const;   // started 0: none
  [[nodiscard]] ProcessId program() const;  // started 0: none
  // Changes the order and ends the program (not what it has started), which then starts anew.
  // Errors: not_found when no keeper runs.
  [[nodiscard]] Status restart_with(const Keep& keep) const;
  // SIGTERM to the program, and after `grace` SIGKILL to everything.
  void stop(Duration grace = seconds(5)) const;
  // SIGKILL to everything, at once.
  void kill() const;
  [[nodiscard]] fs::path log_file() const { return base_.string() + ".log"; }
  // The end of the log, for messages.
  [[nodiscard]] std::string last_words() const;

 private:
  [[nodiscard]] Json state() const;
  fs::path base_;
};

// The keeper's own main: `consort lab-keep BASE`. Returns the program's exit status.
[[nodiscard]] Result<int> keep_main(const fs::path& base);

// Set in the environment of every kept program: "CONSORT_LAB_MEMBER=<id of the lab>".
inline constexpr const char* kMemberVariable = "CONSORT_LAB_MEMBER";

}  // namespace consort::platform
