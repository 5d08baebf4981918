#include "platform/control_groups.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <thread>
#include <vector>

#include "base/files.h"
#include "base/text.h"

namespace consort::platform {
namespace {

// Mount points of control group hierarchies.
std::vector<fs::path> hierarchies() {
  std::vector<fs::path> out;
  const auto text = read_file("/proc/self/mounts");
  if (!text) return out;
  for (const std::string& line : split(*text, '\n')) {
    const std::vector<std::string> fields = split(line, ' ');
    if (fields.size() < 4 || (fields[2] != "cgroup" && fields[2] != "cgroup2")) continue;
    // A group of cpuset takes no process before it was given processors; hosts may use all of them
    // anyway.
    const std::vector<std::string> options = split(fields[3], ',');
    if (fields[2] == "cgroup" &&
        std::find(options.begin(), options.end(), "cpuset") != options.end())
      continue;
    out.emplace_back(fields[1]);
  }
  return out;
}

void write_plain(const fs::path& path, const std::string& text) {
  std::FILE* file = std::fopen(path.c_str(), "we");
  if (file == nullptr) return;
  std::fputs(text.c_str(), file);
  std::fclose(file);
}

// Deepest first.
std::vector<fs::path> groups_below(const fs::path& top) {
  std::vector<fs::path> out;
  std::error_code error;
  if (!fs::is_directory(top, error)) return out;
  out.push_back(top);
  for (fs::recursive_directory_iterator
           it(top, fs::directory_options::skip_permission_denied, error),
       end;
       it != end && !error; it.increment(error)) {
    if (it->is_directory(error)) out.push_back(it->path());
  }
  std::reverse(out.begin(), out.end());
  return out;
}

}  // namespace

void join_control_group(const std::string& path) {
  for (const fs::path& hierarchy : hierarchies()) {
    const fs::path group = hierarchy / path;
    std::error_code error;
    fs::create_directories(group, error);
    if (!error) write_plain(group / "cgroup.procs", "0");
  }
}

void remove_control_group(const std::string& path) {
  for (const fs::path& hierarchy : hierarchies()) {
    for (int tries = 0; tries < 100; ++tries) {
      const std::vector<fs::path> groups = groups_below(hierarchy / path);
      if (groups.empty()) break;
      for (const fs::path& group : groups) {
        const auto members = read_file(group / "cgroup.procs");
        for (const std::string& member : split(members.value_or(""), '\n')) {
          const int pid = std::atoi(member.c_str());
          if (pid > 1 && pid != ::getpid()) ::kill(pid, SIGKILL);
        }
        ::rmdir(group.c_str());
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    // The parent goes with the last of its children; until then this fails.
    ::rmdir((hierarchy / path).parent_path().c_str());
  }
}

}  // namespace consort::platform
