#include "platform/network_namespace.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <thread>

#include "base/process.h"
#include "base/text.h"

namespace consort::platform {

Status run_tool(const std::vector<std::string>& argv) {
  ProcessSpec spec;
  spec.argv = argv;
  const ProcessOutcome outcome = TRY(run_process(spec));
  if (outcome.ok()) return {};
  return fail(ErrorCode::io, fmt::format("{} ended with status {}: {}", quote_argv(argv),
                                         outcome.status, last_lines(trim(outcome.errors), 3)));
}

bool NetworkNamespace::exists() const {
  std::error_code error;
  return fs::exists(path(), error);
}

Status NetworkNamespace::create(const std::string& address) const {
  TRYV(run_tool({"ip", "netns", "add", name_}));
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{"link", "set", "lo", "up"},
                                             {"link", "add", "br0", "type", "bridge"},
                                             {"addr", "add", address, "dev", "br0"},
                                             {"link", "set", "br0", "up"}}) {
    std::vector<std::string> argv = {"ip", "-n", name_};
    argv.insert(argv.end(), words.begin(), words.end());
    TRYV(run_tool(argv));
  }
  return {};
}

Status NetworkNamespace::remove() const {
  if (!exists()) return {};
  return run_tool({"ip", "netns", "delete", name_});
}

std::vector<std::string> NetworkNamespace::enter(const std::vector<std::string>& argv) const {
  std::vector<std::string> out = {"nsenter", "--net=" + path().string(), "--"};
  out.insert(out.end(), argv.begin(), argv.end());
  return out;
}

Status NetworkNamespace::run_inside(const std::function<Status()>& function) const {
  const Fd fd(::open(path().c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return fail_errno(errno, fmt::format("cannot open {}", path().string()));
  Status out;
  std::thread([&] {
    // setns(2) with CLONE_NEWNET changes the calling thread alone.
    if (::setns(fd.get(), CLONE_NEWNET) != 0) {
      out = fail_errno(errno, fmt::format("cannot enter {}", path().string()));
      return;
    }
    out = function();
  }).join();
  return out;
}

Status NetworkNamespace::set_link(const std::string& interface, Link state) const {
  return run_tool({"ip", "-n", name_, "link", "set", interface, state == Link::up ? "up" : "down"});
}

Result<NetworkNamespace::Link> NetworkNamespace::link(const std::string& interface) const {
  ProcessSpec spec;
  spec.argv = {"ip", "-n", name_, "-o", "link", "show", "dev", interface};
  const ProcessOutcome outcome = TRY(run_process(spec));
  if (!outcome.ok())
    return fail(ErrorCode::io,
                fmt::format("cannot see {}: {}", interface, last_lines(trim(outcome.errors), 3)));
  // "7: vb-web1@if2: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 …"
  const std::string& line = outcome.output;
  const std::size_t begin = std::min(line.find('<'), line.size());
  const std::string flags = "," + line.substr(begin, line.find('>', begin) - begin) + ",";
  const bool up =
      flags.find(",UP,") != std::string::npos || flags.find("<UP,") != std::string::npos;
  return up ? Link::up : Link::down;
}

}  // namespace consort::platform
