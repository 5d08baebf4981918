// A lab: a controller and a fleet of hosts on one machine, to try a site on. Its folder holds
// lab.json (what it is), hosts.yaml (an inventory) and everything else that belongs to it; down()
// leaves nothing. Not thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/process.h"
#include "platform/keeper.h"
#include "platform/platform.h"

namespace consort::platform {

struct LabHost {
  HostSpec spec;
  std::string host_class;
};

struct LabRequest {
  fs::path folder;
  fs::path self;                                     // the consort program
  std::string platform;                              // "" chooses
  std::vector<std::pair<std::string, int>> classes;  // web → 2
};

// "web=2,db=1". Errors: invalid_input. At most 200 hosts together.
[[nodiscard]] Result<std::vector<std::pair<std::string, int>>> parse_classes(std::string_view text);

class Lab {
 public:
  // Makes the fleet and waits until every agent has reported to the controller. On an error
  // everything that was made is removed again. Errors: conflict (a lab is there already),
  // unsupported, timeout, interrupted (see interrupt()).
  [[nodiscard]] static Result<Lab> up(const LabRequest& request, const Tell& tell);
  // An existing one. Errors: not_found, corrupt.
  [[nodiscard]] static Result<Lab> open(const fs::path& folder, const fs::path& self);
  // Ends and removes everything, also of a lab whose lab.json is damaged or missing. Error
  // not_found: no lab is there, and nothing of one runs.
  [[nodiscard]] static Status down(const fs::path& folder, const fs::path& self);
  // Async-signal-safe: up() under way ends soon with `interrupted`.
  static void interrupt();

  [[nodiscard]] const std::string& id() const { return identity_.id; }
  [[nodiscard]] const std::string& platform_name() const { return platform_name_; }
  [[nodiscard]] const std::string& why() const { return why_; }
  [[nodiscard]] const fs::path& folder() const { return identity_.folder; }
  [[nodiscard]] fs::path inventory() const { return identity_.folder / "hosts.yaml"; }
  [[nodiscard]] std::string controller_url() const;
  [[nodiscard]] const std::vector<LabHost>& hosts() const { return hosts_; }
  // Error: not_found, with a guess.
  [[nodiscard]] Result<HostSpec> host(const std::string& name) const;

  // The verbs; `name` is a host, or "controller" for start and kill.
  enum class Verb : std::uint8_t { start, stop, kill, reboot, cut, heal };
  [[nodiscard]] Status act(Verb verb, const std::string& name);
  [[nodiscard]] Result<std::vector<std::string>> exec_argv(
      const std::string& host, const std::vector<std::string>& argv) const;
  // Runs on this machine, inside the lab's network, with CONSORT_CONTROLLER and CONSORT_CONTEXT
  // set.
  [[nodiscard]] std::vector<std::string> inside_argv(const std::vector<std::string>& argv) const;
  // The admin's credential: what CONSORT_CONTEXT is to name.
  [[nodiscard]] fs::path credentials() const { return identity_.folder / "admin.json"; }
  // The record that `consort ARGUMENTS --json` prints, as the lab's admin. Error unavailable with
  // what it says instead.
  [[nodiscard]] Result<Json> ask(std::vector<std::string> arguments) const;
  // { lab, platform, why, folder, context, controller: { url, running, kept }, inventory, hosts: [{
  // name, class, address, running, kept }] }; kept: see Platform::kept().
  [[nodiscard]] Json describe() const;

 private:
  Lab(LabIdentity identity, std::string platform_name);
  [[nodiscard]] Status build(const Tell& tell);
  [[nodiscard]] Status initialise_controller() const;
  [[nodiscard]] Status start_controller() const;
  [[nodiscard]] Result<std::string> join_token() const;
  [[nodiscard]] Status wait_for_agents() const;
  [[nodiscard]] Status save() const;
  [[nodiscard]] Keeper controller_keeper() const {
    return {identity_.folder / "controller" / "controller", identity_.id + "/controller"};
  }

  LabIdentity identity_;
  std::string platform_name_;
  std::string why_;
  std::unique_ptr<Platform> platform_;
  std::vector<LabHost> hosts_;
};

}  // namespace consort::platform
