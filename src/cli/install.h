// `consort host install`: what it sends to a machine and how. The pure parts, for tests.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace consort::cli {

// packaging/systemd/consort-agent.service
[[nodiscard]] std::string_view agent_unit();

// "root@10.0.0.7", "root@web1.example", an alias of ~/.ssh/config. Error usage for what ssh could
// take for something else than a machine.
[[nodiscard]] Status check_ssh_target(std::string_view target);
// The words of --ssh, "ssh -p 2222 -i ~/key": at blanks, without a shell. Error usage when empty.
[[nodiscard]] Result<std::vector<std::string>> ssh_words(std::string_view text);

// What the unit starts on this machine instead of its own line, as a drop-in of systemd. Error
// invalid_input when the URL or the name could mean more to systemd than themselves.
[[nodiscard]] Result<std::string> join_drop_in(std::string_view controller, std::string_view name);

// What the machine says of itself: lines "key=value" of the probe.
struct MachineFacts {
  std::string machine;  // uname -m
  std::string user;     // its number
  std::string name;
  std::string program;  // SHA-256 of its consort program, hex; "" when it has none
  std::string joined;   // joined.json; "" when it has not joined
  bool systemd = false;
};
[[nodiscard]] MachineFacts machine_facts(std::string_view probe_output);

}  // namespace consort::cli
