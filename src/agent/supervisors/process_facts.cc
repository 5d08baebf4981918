#include "agent/supervisors/process_facts.h"

#include <dirent.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <charconv>
#include <csignal>
#include <vector>

#include "base/text.h"

namespace consort::agent {
namespace {

// The fields of /proc/PID/stat after the name, which itself may hold spaces: [0] is the state,
// proc(5).
std::vector<std::string> stat_fields(pid_t pid) {
  const auto text = read_file(fmt::format("/proc/{}/stat", pid), 4096);
  if (!text) return {};
  const std::size_t end_of_name = text->rfind(')');
  if (end_of_name == std::string::npos || end_of_name + 2 > text->size()) return {};
  return split(text->substr(end_of_name + 2), ' ');
}

}  // namespace

std::string boot_id() {
  return std::string(trim(read_file("/proc/sys/kernel/random/boot_id", 100).value_or("")));
}

std::uint64_t process_start_time(pid_t pid) {
  constexpr std::size_t kStartTime = 19;
  const auto fields = pid > 0 ? stat_fields(pid) : std::vector<std::string>{};
  if (fields.size() <= kStartTime || fields[0] == "Z" || fields[0] == "X") return 0;
  std::uint64_t out = 0;
  const std::string& text = fields[kStartTime];
  std::from_chars(text.data(), text.data() + text.size(), out);
  return out;
}

Fd open_process(pid_t pid, std::uint64_t start_time) {
  if (pid <= 0 || start_time == 0) return Fd();
  Fd fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  // Checked after the open: from now on the descriptor cannot change its meaning.
  if (!fd.valid() || process_start_time(pid) != start_time) return Fd();
  return fd;
}

bool wait_for_end(const Fd& pidfd, int milliseconds) {
  pollfd wait{pidfd.get(), POLLIN, 0};
  return ::poll(&wait, 1, milliseconds) == 1;
}

void kill_session(pid_t session, pid_t spared) {
  constexpr std::size_t kSession = 3;
  DIR* dir = ::opendir("/proc");
  if (dir == nullptr || session <= 1) {
    if (dir != nullptr) ::closedir(dir);
    return;
  }
  const std::string wanted = std::to_string(session);
  while (const dirent* item =
             ::readdir(dir)) {  // NOLINT(concurrency-mt-unsafe): the stream is ours alone
    pid_t pid = 0;
    const std::string_view name(item->d_name);
    if (std::from_chars(name.data(), name.data() + name.size(), pid).ptr !=
            name.data() + name.size() ||
        pid == spared)
      continue;
    const auto fields = stat_fields(pid);
    if (fields.size() > kSession && fields[kSession] == wanted) ::kill(pid, SIGKILL);
  }
  ::closedir(dir);
}

}  // namespace consort::agent
