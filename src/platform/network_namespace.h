// A network namespace with a name (ip-netns(8)) and a bridge in it: a lab's own network, invisible
// from outside.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/files.h"

namespace consort::platform {

class NetworkNamespace {
 public:
  explicit NetworkNamespace(std::string name) : name_(std::move(name)) {}
  [[nodiscard]] fs::path path() const { return fs::path("/run/netns") / name_; }
  [[nodiscard]] bool exists() const;
  // Makes it, with the bridge br0 at `address` ("10.77.1.1/24").
  [[nodiscard]] Status create(const std::string& address) const;
  [[nodiscard]] Status remove() const;  // absent is fine
  // The command line that runs `argv` in it; files and processes stay those of the machine.
  // (ip-netns-exec(8) would hide the mounts of control groups.)
  [[nodiscard]] std::vector<std::string> enter(const std::vector<std::string>& argv) const;
  // Runs `function` on a thread whose sockets are in it.
  [[nodiscard]] Status run_inside(const std::function<Status()>& function) const;
  enum class Link : std::uint8_t { up, down };
  [[nodiscard]] Status set_link(const std::string& interface, Link state) const;
  // As it was set, whatever its other end is. Error io: there is no such interface.
  [[nodiscard]] Result<Link> link(const std::string& interface) const;

 private:
  std::string name_;
};

// Runs a program and makes what it says on failure the error. For plain tools: ip, mount helpers.
[[nodiscard]] Status run_tool(const std::vector<std::string>& argv);

}  // namespace consort::platform
