#include "agent/facts.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "agent/supervisors/process_facts.h"
#include "base/text.h"

namespace consort::agent {
namespace {

std::string unquoted(std::string_view text) {
  if (text.size() >= 2 && (text.front() == '"' || text.front() == '\'') &&
      text.back() == text.front())
    text = text.substr(1, text.size() - 2);
  return std::string(text);
}

void read_os_release(const fs::path& root, LabelMap& facts) {
  auto text = read_file(root / "etc/os-release", 65536);
  if (!text) text = read_file(root / "usr/lib/os-release", 65536);
  for (const std::string& line : split(text.value_or(""), '\n')) {
    const std::size_t equals = line.find('=');
    if (equals == std::string::npos) continue;
    const std::string key = line.substr(0, equals);
    const std::string value = unquoted(std::string_view(line).substr(equals + 1));
    if (key == "ID") facts["os.id"] = value;
    if (key == "VERSION_ID") facts["os.version"] = value;
    if (key == "VERSION_CODENAME") facts["os.codename"] = value;
    if (key == "PRETTY_NAME") facts["os.name"] = value;
  }
}

// The names that packages use.
std::string architecture(std::string_view machine) {
  if (machine == "x86_64") return "amd64";
  if (machine == "aarch64") return "arm64";
  return std::string(machine);
}

}  // namespace

bool systemd_is_running() {
  // sd_booted(3): the folder is there exactly when systemd is the init system.
  struct stat info {};
  return ::lstat("/run/systemd/system", &info) == 0 && S_ISDIR(info.st_mode);
}

LabelMap gather_facts(const fs::path& root) {
  LabelMap facts;
  read_os_release(root, facts);
  utsname names{};
  if (::uname(&names) == 0) {
    facts["arch"] = architecture(names.machine);
    facts["kernel"] = names.release;
    facts["hostname"] = names.nodename;
  }
  const std::string machine(trim(read_file(root / "etc/machine-id", 1000).value_or("")));
  if (!machine.empty()) facts["machine.id"] = machine;
  if (const std::string boot = boot_id(); !boot.empty()) facts["boot.id"] = boot;
  facts["cpus"] = std::to_string(::sysconf(_SC_NPROCESSORS_ONLN));
  facts["memory.bytes"] = std::to_string(static_cast<std::int64_t>(::sysconf(_SC_PHYS_PAGES)) *
                                         ::sysconf(_SC_PAGESIZE));
  facts["init"] = systemd_is_running() ? "systemd" : "other";
  return facts;
}

}  // namespace consort::agent
