#include "agent/supervisors/unit_file.h"

#include <fmt/format.h>

#include <csignal>
#include <cstring>

#include "base/text.h"

namespace consort::agent {
namespace {

constexpr std::string_view kDigestKey = "X-ConsortConfiguration=";

// Quoted as systemd.syntax(7) has it; "%" would be a specifier. (The ":" before the program turns
// variables off.)
std::string unit_quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (c == '%') out += '%';
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string plain(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '%') out += '%';
    out += c == '\n' ? ' ' : c;
  }
  return out;
}

std::string_view restart_word(RestartPolicy policy) {
  switch (policy) {
    case RestartPolicy::always:
      return "always";
    case RestartPolicy::on_failure:
      return "on-failure";
    case RestartPolicy::never:
      return "no";
  }
  return "no";
}

void add_hardening(const DaemonSpec& spec, std::string& out) {
  if (spec.hardening == Hardening::none) return;
  out +=
      "NoNewPrivileges=yes\nProtectSystem=strict\nProtectHome=read-only\nPrivateTmp="
      "yes\nPrivateDevices=yes\n"
      "ProtectKernelTunables=yes\nProtectKernelModules=yes\nProtectKernelLogs="
      "yes\nProtectControlGroups=yes\nProtectClock=yes\n"
      "ProtectHostname=yes\nRestrictSUIDSGID=yes\nRestrictRealtime=yes\nLockPersonality="
      "yes\nRestrictNamespaces=yes\n"
      "SystemCallArchitectures=native\n";
  // '-': a path that is not there yet is no reason not to start.
  for (const std::string& path : spec.writable)
    out += fmt::format("ReadWritePaths={}\n", unit_quoted("-" + path));
}

Status check_text(const DaemonSpec& spec) {
  std::vector<std::string> texts = spec.argv;
  for (const auto& [key, value] : spec.environment) {
    texts.push_back(key);
    texts.push_back(value);
  }
  texts.insert(texts.end(), spec.writable.begin(), spec.writable.end());
  texts.push_back(spec.folder);
  texts.push_back(spec.environment_file);
  for (const auto& [name, file] : spec.credentials) texts.push_back(file);
  for (const std::string& text : texts) {
    if (text.find('\0') != std::string::npos || text.find('\r') != std::string::npos) {
      return fail(
          ErrorCode::invalid_input,
          fmt::format("the daemon {}: a systemd unit cannot hold NUL bytes or carriage returns",
                      spec.name));
    }
  }
  std::vector<std::string> lines = {spec.folder, spec.environment_file, spec.user, spec.group};
  for (const auto& [name, file] : spec.credentials) lines.push_back(file);
  for (const std::string& text : lines) {
    if (text.find('\n') != std::string::npos)
      return fail(
          ErrorCode::invalid_input,
          fmt::format(
              "the daemon {}: a line end in folder, environmentFile, credentials, user or group",
              spec.name));
  }
  return {};
}

}  // namespace

std::string unit_name(const std::string& daemon) { return "consort-" + daemon + ".service"; }

Result<std::string> render_unit(const DaemonSpec& spec) {
  TRYV(check_text(spec));
  std::string out =
      fmt::format("# Written by Consort; changes are undone.\n[Unit]\nDescription={}\n{}{}\n",
                  plain(spec.description.empty() ? spec.name : spec.description), kDigestKey,
                  spec.config_digest.str());
  // Consort reports crash loops; systemd must not give up on its own.
  out += "After=network.target\nStartLimitIntervalSec=0\n\n[Service]\n";
  out += fmt::format("Type={}\n",
                     spec.readiness.type == ReadinessSpec::Type::notify ? "notify" : "exec");
  if (spec.readiness.type == ReadinessSpec::Type::notify)
    out += fmt::format("NotifyAccess=all\nTimeoutStartSec={}ms\n", spec.readiness.timeout.count());
  out += "ExecStart=";
  for (std::size_t i = 0; i < spec.argv.size(); ++i)
    out += i == 0 ? unit_quoted(":" + spec.argv[i]) : " " + unit_quoted(spec.argv[i]);
  out += '\n';
  for (const auto& [key, value] : spec.environment)
    out += fmt::format("Environment={}\n", unit_quoted(key + "=" + value));
  if (!spec.environment_file.empty())
    out += fmt::format("EnvironmentFile={}\n", plain(spec.environment_file));
  for (const auto& [name, file] : spec.credentials)
    out += fmt::format("LoadCredential={}:{}\n", name, plain(file));
  if (!spec.user.empty()) out += fmt::format("User={}\n", spec.user);
  if (!spec.group.empty()) out += fmt::format("Group={}\n", spec.group);
  if (!spec.folder.empty()) out += fmt::format("WorkingDirectory={}\n", plain(spec.folder));
  out += fmt::format("Restart={}\nRestartSec=100ms\n", restart_word(spec.restart));
  out += fmt::format("KillMode=mixed\nKillSignal={}\nTimeoutStopSec={}ms\n", spec.stop_signal,
                     spec.stop_timeout.count());
  if (spec.nofile) out += fmt::format("LimitNOFILE={}\n", *spec.nofile);
  if (spec.memory) out += fmt::format("MemoryMax={}\n", *spec.memory);
  if (spec.tasks) out += fmt::format("TasksMax={}\n", *spec.tasks);
  add_hardening(spec, out);
  return out + "\n[Install]\nWantedBy=multi-user.target\n";
}

Digest digest_in_unit(std::string_view unit) {
  const std::size_t at = unit.find(kDigestKey);
  if (at == std::string_view::npos) return Digest();
  const std::string_view rest = unit.substr(at + kDigestKey.size());
  return Digest::parse(rest.substr(0, rest.find('\n'))).value_or(Digest());
}

}  // namespace consort::agent
