// The fleet: which hosts there are, of which classes, and where each service runs.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/error.h"
#include "site/site.h"

namespace consort::fleet {

struct Host {
  std::string name;
  std::string address;
  std::map<std::string, std::string> labels;
  friend bool operator==(const Host&, const Host&) = default;
};

struct Fleet {
  std::map<std::string, Host> hosts;
  std::map<std::string, std::vector<std::string>> classes;     // class → host names, sorted
  std::map<std::string, std::vector<std::string>> classes_of;  // host → classes, sorted
};

// The controller's own registry, asked by label selector.
using RegistryLookup = std::function<Result<std::vector<Host>>(const std::string& selector)>;

// Of an exec inventory, before it is run: its program, found, and its arguments. An error is why it
// is not run, and the inventory's.
using ProgramGate = std::function<Status(const std::vector<std::string>& argv)>;

struct ResolveOptions {
  RegistryLookup registry;       // empty: no controller is known
  ProgramGate before_program{};  // empty: all are run
};

// Asks the inventory of every host class. Errors name the class, the inventory and the remedy: a
// failed inventory, fewer hosts than `min`, one name with two addresses, bad names.
[[nodiscard]] Result<Fleet> resolve(const site::Site& site, const ResolveOptions& options);

// The hosts of one inventory. `folder` is where relative paths start.
[[nodiscard]] Result<std::vector<Host>> read_inventory(const Json& inventory,
                                                       const std::string& host_class,
                                                       const fs::path& folder,
                                                       const ResolveOptions& options);

// Formats (inventory_formats.cc). `group` chooses among groups, where the document has any.
// Ours:      { hosts: { web1: { address, labels: {…} } | "10.0.0.1" } }, or a list of { name,
// address, labels }
//            or { groups: { web: <one of these> } }
// Ansible:   { "_meta": { "hostvars": … }, "web": { "hosts": […], "children": […] } }
[[nodiscard]] Result<std::vector<Host>> hosts_from_json(const Json& json, const std::string& group,
                                                        const std::string& origin);
[[nodiscard]] Result<Json> yaml_to_json(std::string_view text, const std::string& origin);

// Where each service runs: every host of its class that matches `when`, or `replicas` of them,
// chosen by rendezvous hashing; hosts of `previous` are kept as long as they can be. Errors:
// invalid_input when there are fewer hosts than replicas.
using Placement = std::map<std::string, std::vector<std::string>>;  // service → hosts, sorted
[[nodiscard]] Result<Placement> place(const site::Site& site, const Fleet& fleet,
                                      const Placement& previous);

// What each endpoint resolves to, from the placement.
[[nodiscard]] site::EndpointTable endpoint_table(const site::Site& site, const Fleet& fleet,
                                                 const Placement& placement);

}  // namespace consort::fleet
