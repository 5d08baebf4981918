#include "platform/platform.h"

#include <fmt/format.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sched.h>
#include <cerrno>

#include "base/text.h"

namespace consort::platform {
namespace {

// Tried in a child of its own, so that nothing of it stays.
bool may_unshare() {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(::unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID) == 0 ? 0 : 1);
  int status = 1;
  while (pid > 0 && ::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool has_program(const std::string& name) {
  for (const char* folder : {"/usr/bin/", "/usr/sbin/", "/bin/", "/sbin/"}) {
    if (::access((folder + name).c_str(), X_OK) == 0) return true;
  }
  return false;
}

bool knows_overlay() {
  const auto text = read_file("/proc/filesystems");
  return text && text->find("\toverlay\n") != std::string::npos;
}

}  // namespace

const std::vector<std::string_view>& platform_names() {
  static const std::vector<std::string_view> names = {"nspawn", "process"};
  return names;
}

std::unique_ptr<Platform> make_platform(std::string_view name, const LabIdentity& lab) {
  if (name == "nspawn") return make_nspawn_platform(lab);
  if (name == "process") return make_process_platform(lab);
  return nullptr;
}

std::optional<std::string> nspawn_obstacle() {
  if (::geteuid() != 0) return "we are not root";
  for (const char* program : {"systemd-nspawn", "nsenter", "ip"}) {
    if (!has_program(program))
      return fmt::format("{} is missing (apt-get install systemd-container util-linux iproute2)",
                         program);
  }
  if (!may_unshare()) return "namespaces are not permitted here";
  if (!knows_overlay()) return "the kernel has no overlay file system";
  if (::access("/sys/fs/cgroup", W_OK) != 0) return "control groups cannot be written";
  return std::nullopt;
}

Result<Choice> choose_platform(const std::string& forced) {
  if (!forced.empty()) {
    if (forced != "nspawn" && forced != "process") {
      const std::string guess = did_you_mean(forced, platform_names());
      return fail(ErrorCode::usage, fmt::format("there is no platform '{}'", forced))
          .hint(guess.empty() ? "--platform nspawn, or --platform process"
                              : fmt::format("did you mean '{}'?", guess));
    }
    if (forced == "process") return Choice{forced, "asked for"};
    if (const auto obstacle = nspawn_obstacle())
      return fail(ErrorCode::unsupported,
                  fmt::format("the platform nspawn does not work here: {}", *obstacle))
          .hint("--platform process needs no privileges");
    return Choice{forced, "asked for"};
  }
  if (const auto obstacle = nspawn_obstacle())
    return Choice{"process", fmt::format("nspawn does not work here: {}", *obstacle)};
  return Choice{"nspawn", "this machine permits it: real systemd hosts"};
}

}  // namespace consort::platform
