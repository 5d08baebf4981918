// A keeper is a small process of ours that keeps one program of a lab running and is the parent of
// all that the program leaves behind, so that everything can be found and ended. Its order is a
// file; its state is a file beside it. When it is killed itself, what it kept goes on: it is found
// by its mark (kPartVariable).
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
  // `base` is a path without extension: base.keep, base.state and base.log are its files. `part`
  // names what it keeps, uniquely on this machine: "LAB/HOST".
  Keeper(fs::path base, std::string part) : base_(std::move(base)), part_(std::move(part)) {}

  // Writes the order and starts the keeper, detached from us. `self` is the consort program. Does
  // nothing when it runs already. What a keeper that died has left is ended first.
  [[nodiscard]] Status start(const fs::path& self, const Keep& keep) const;
  [[nodiscard]] bool running() const;
  // It does not run any more, but something of what it kept does.
  [[nodiscard]] bool lost() const;
  [[nodiscard]] ProcessId keeper() const;   // started 0: none
  [[nodiscard]] ProcessId program() const;  // started 0: none
  // What it was told last. Errors: not_found when it never was, corrupt, io.
  [[nodiscard]] Result<Keep> order() const;
  // Changes the order and ends the program (not what it has started), which then starts anew.
  // Errors: not_found when nothing runs, unavailable when the keeper has died.
  [[nodiscard]] Status restart_with(const Keep& keep) const;
  // SIGTERM to the program, and after `grace` SIGKILL to everything; also without a keeper.
  void stop(Duration grace = seconds(5)) const;
  // SIGKILL to everything, at once.
  void kill() const;
  [[nodiscard]] fs::path log_file() const { return base_.string() + ".log"; }
  // The end of the log, for messages.
  [[nodiscard]] std::string last_words() const;

 private:
  void wait_until_settled() const;
  [[nodiscard]] Json state() const;
  [[nodiscard]] std::string mark() const;
  fs::path base_;
  std::string part_;
};

// The keeper's own main: `consort lab-keep BASE`. Returns the program's exit status.
[[nodiscard]] Result<int> keep_main(const fs::path& base);

// Set in the environment of every kept program: "CONSORT_LAB_MEMBER=<id of the lab>".
inline constexpr const char* kMemberVariable = "CONSORT_LAB_MEMBER";
// And this one in the environment of a keeper and of all that it keeps: "CONSORT_LAB_PART=<part>".
inline constexpr const char* kPartVariable = "CONSORT_LAB_PART";

}  // namespace consort::platform
