#include "agent/supervisors/boot_guard.h"

#include <fmt/format.h>

#include <algorithm>

namespace consort::agent {
namespace {

constexpr std::string_view kHead = "# Written by Consort; changes are undone.\n[Unit]\n";

Result<std::string> unit_path_word(const fs::path& path) {
  const std::string text = path.string();
  const auto is_odd = [](unsigned char c) {
    return c < ' ' || c == '"' || c == '\\' || c == '\'' || c == 0x7f;
  };
  if (!path.is_absolute() || std::any_of(text.begin(), text.end(), is_odd))
    return fail(ErrorCode::invalid_input,
                fmt::format("'{}' is no path that a systemd unit can hold", text));
  std::string out = "\"";
  for (const char c : text) {
    if (c == '%') out += '%';
    out += c;
  }
  return out + "\"";
}

}  // namespace

// Before any network is up. nftables.service flushes the whole ruleset, so it comes first. Stopped
// by hand it would take the daemons with it.
Result<std::string> render_boot_unit(const BootGuard& guard) {
  const std::string rules = TRY(unit_path_word(guard.rules));
  const std::string folder = TRY(unit_path_word(guard.rules.parent_path()));
  const std::string program = TRY(unit_path_word(guard.program));
  return fmt::format(
      "{}Description=Consort: ports that only declared hosts may reach\n"
      "DefaultDependencies=no\n"
      "RequiresMountsFor={}\n"
      "Wants=network-pre.target\n"
      "After=nftables.service\n"
      "Before=network-pre.target shutdown.target\n"
      "Conflicts=shutdown.target\n"
      "RefuseManualStop=yes\n"
      "StartLimitIntervalSec=0\n"
      "\n[Service]\n"
      "Type=oneshot\n"
      "RemainAfterExit=yes\n"
      "TimeoutStartSec=60s\n"
      "ExecStart={} -f {}\n"
      "\n[Install]\n"
      "WantedBy={}\n",
      kHead, folder, program, rules, kBootTarget);
}

std::string render_boot_drop_in(bool must) {
  return fmt::format("{}After={}\n{}={}\n", kHead, kBootUnit, must ? "Requires" : "Wants",
                     kBootUnit);
}

}  // namespace consort::agent
