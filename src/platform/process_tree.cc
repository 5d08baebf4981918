#include "platform/process_tree.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <csignal>
#include <map>
#include <set>
#include <thread>

#include "base/files.h"
#include "base/text.h"

namespace consort::platform {
namespace {

using Clock = std::chrono::steady_clock;

struct Stat {
  char state = 'X';
  pid_t parent = 0;
  std::uint64_t started = 0;
};

template <class Number>
Number number_from(std::string_view text) {
  Number out = 0;
  std::from_chars(text.data(), text.data() + text.size(), out);
  return out;
}

Stat stat_of(pid_t pid) {
  const auto text = read_file(fmt::format("/proc/{}/stat", pid));
  if (!text) return {};
  // The name is in parentheses and may hold anything; the fields after it are plain (proc(5)).
  const std::size_t end = text->rfind(')');
  if (end == std::string::npos) return {};
  const std::vector<std::string> fields = split(trim(std::string_view(*text).substr(end + 1)), ' ');
  if (fields.size() < 20) return {};
  return {fields[0].empty() ? 'X' : fields[0][0], number_from<pid_t>(fields[1]),
          number_from<std::uint64_t>(fields[19])};
}

// It executes nothing more until it is continued: stopped, traced or gone.
bool is_still(const ProcessId& process) {
  const Stat stat = stat_of(process.pid);
  return stat.started != process.started || stat.state == 'T' || stat.state == 't' ||
         stat.state == 'Z' || stat.state == 'X';
}

std::vector<pid_t> all_processes() {
  std::vector<pid_t> out;
  std::error_code error;
  for (fs::directory_iterator it("/proc", error), end; it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name.find_first_not_of("0123456789") == std::string::npos)
      out.push_back(number_from<pid_t>(name));
  }
  return out;
}

std::multimap<pid_t, pid_t> family() {
  std::multimap<pid_t, pid_t> out;
  for (const pid_t pid : all_processes()) {
    const Stat stat = stat_of(pid);
    if (stat.started != 0) out.emplace(stat.parent, pid);
  }
  return out;
}

}  // namespace

ProcessId identify(pid_t pid) { return {pid, stat_of(pid).started}; }

bool is_alive(const ProcessId& process) {
  if (process.pid <= 0 || process.started == 0) return false;
  const Stat stat = stat_of(process.pid);
  return stat.started == process.started && stat.state != 'Z' && stat.state != 'X';
}

std::vector<pid_t> children_of(pid_t pid) {
  std::vector<pid_t> out;
  const auto all = family();
  for (auto [it, end] = all.equal_range(pid); it != end; ++it) out.push_back(it->second);
  return out;
}

std::vector<pid_t> descendants_of(pid_t pid) {
  const auto all = family();
  std::vector<pid_t> out = {pid};
  for (std::size_t i = 0; i < out.size(); ++i) {
    for (auto [it, end] = all.equal_range(out[i]); it != end; ++it) out.push_back(it->second);
  }
  out.erase(out.begin());
  return out;
}

std::vector<pid_t> marked_with(const std::string& variable) {
  std::vector<pid_t> out;
  for (const pid_t pid : all_processes()) {
    if (pid == ::getpid()) continue;
    const auto text = read_file(fmt::format("/proc/{}/environ", pid));
    if (!text) continue;
    const std::vector<std::string> entries = split(*text, '\0');
    if (std::find(entries.begin(), entries.end(), variable) != entries.end()) out.push_back(pid);
  }
  return out;
}

void kill_trees(const std::vector<pid_t>& roots, Duration limit) {
  const auto deadline = Clock::now() + limit;
  std::set<pid_t> seen;
  std::vector<ProcessId> known;
  const auto remember = [&](pid_t pid) {
    const ProcessId process = identify(pid);
    if (process.started != 0 && seen.insert(pid).second) known.push_back(process);
  };
  for (const pid_t root : roots) remember(root);
  // A process that is held still starts no other and loses no child to another parent: only when
  // all are, the list of them is complete, and only then they are ended.
  for (bool complete = false; !complete && Clock::now() < deadline;) {
    for (const ProcessId& process : known) {
      if (is_alive(process)) ::kill(process.pid, SIGSTOP);
    }
    complete = std::all_of(known.begin(), known.end(), is_still);
    const std::size_t before = known.size();
    for (std::size_t i = 0; i < before; ++i) {
      if (!is_alive(known[i])) continue;
      for (const pid_t child : descendants_of(known[i].pid)) remember(child);
    }
    complete = complete && known.size() == before;
    if (!complete) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  for (const ProcessId& process : known) {
    if (is_alive(process)) ::kill(process.pid, SIGKILL);
  }
  for (const ProcessId& process : known) {
    const auto left = deadline - Clock::now();
    if (left.count() > 0) (void)wait_for_end(process, std::chrono::duration_cast<Duration>(left));
  }
}

void kill_marked(const std::string& variable, Duration limit) {
  const auto deadline = Clock::now() + limit;
  for (auto found = marked_with(variable); !found.empty(); found = marked_with(variable)) {
    const auto left = deadline - Clock::now();
    if (left.count() <= 0) return;
    kill_trees(found, std::chrono::duration_cast<Duration>(left));
  }
}

bool wait_for_end(const ProcessId& process, Duration limit) {
  const Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, process.pid, 0)));
  if (!pidfd.valid() || !is_alive(process)) return true;
  pollfd entry{pidfd.get(), POLLIN, 0};
  ::poll(&entry, 1, static_cast<int>(limit.count()));
  return !is_alive(process);
}

Json process_id_to_json(const ProcessId& process) {
  return Json::object({{"pid", process.pid}, {"started", process.started}});
}

ProcessId process_id_from_json(const Json& json) {
  return {static_cast<pid_t>(json.int_or("pid")),
          static_cast<std::uint64_t>(json.int_or("started"))};
}

}  // namespace consort::platform
