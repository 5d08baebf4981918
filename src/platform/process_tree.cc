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

// Having been sent SIGSTOP, it executes nothing more until it is continued: stopped, traced, gone,
// or waiting in the kernel (D), like the parent of a vfork() whose child was stopped before its
// exec.
bool is_still(const ProcessId& process) {
  const Stat stat = stat_of(process.pid);
  return stat.started != process.started ||
         std::string_view("TtZXD").find(stat.state) != std::string_view::npos;
}

// Newest first.
std::vector<pid_t> all_processes() {
  std::vector<pid_t> out;
  std::error_code error;
  for (fs::directory_iterator it("/proc", error), end; it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name.find_first_not_of("0123456789") == std::string::npos)
      out.push_back(number_from<pid_t>(name));
  }
  std::sort(out.begin(), out.end(), std::greater<>());
  return out;
}

bool is_marked(pid_t pid, const std::string& variable) {
  if (pid == ::getpid()) return false;
  const auto text = read_file(fmt::format("/proc/{}/environ", pid));
  if (!text) return false;
  const std::vector<std::string> entries = split(*text, '\0');
  return std::find(entries.begin(), entries.end(), variable) != entries.end();
}

std::multimap<pid_t, pid_t> family() {
  std::multimap<pid_t, pid_t> out;
  for (const pid_t pid : all_processes()) {
    const Stat stat = stat_of(pid);
    if (stat.started != 0) out.emplace(stat.parent, pid);
  }
  return out;
}

// These, then their children, then theirs; nobody twice.
std::vector<pid_t> with_descendants(std::vector<pid_t> out) {
  const auto all = family();
  std::set<pid_t> seen(out.begin(), out.end());
  for (std::size_t i = 0; i < out.size(); ++i) {
    for (auto [it, end] = all.equal_range(out[i]); it != end; ++it) {
      if (seen.insert(it->second).second) out.push_back(it->second);
    }
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
  std::vector<pid_t> out = with_descendants({pid});
  out.erase(out.begin());
  return out;
}

std::vector<pid_t> marked_with(const std::string& variable) {
  std::vector<pid_t> out = all_processes();
  std::erase_if(out, [&](pid_t pid) { return !is_marked(pid, variable); });
  return out;
}

void kill_trees(const std::vector<pid_t>& roots, Duration limit) {
  const auto deadline = Clock::now() + limit;
  std::map<pid_t, std::uint64_t> started;
  std::vector<ProcessId> known;
  // A process that is held still starts no other and loses no child to another parent: only when
  // all are, the list of them is complete, and only then they are ended.
  for (bool complete = false; !complete && Clock::now() < deadline;) {
    complete = std::all_of(known.begin(), known.end(), is_still);
    std::vector<pid_t> alive = known.empty() ? roots : std::vector<pid_t>();
    for (const ProcessId& process : known) {
      if (is_alive(process)) alive.push_back(process.pid);
    }
    for (const pid_t pid : with_descendants(std::move(alive))) {
      const ProcessId process = identify(pid);
      if (process.started == 0 || !started.try_emplace(pid, process.started).second) continue;
      ::kill(pid, SIGSTOP);
      known.push_back(process);
      complete = false;
    }
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
  std::set<pid_t> held;
  // Whatever is found is held at once, the youngest first: what grows is caught where it grows.
  for (bool grew = true; grew && Clock::now() < deadline;) {
    grew = false;
    for (const pid_t pid : all_processes()) {
      if (held.contains(pid) || !is_marked(pid, variable)) continue;
      ::kill(pid, SIGSTOP);
      held.insert(pid);
      grew = true;
    }
  }
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
