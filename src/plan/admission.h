// Who may reach one port of a host: what the agent makes firewall rules of. Part of its target,
// and of its report. Wire and store format; values.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/json.h"

namespace consort::plan {

// Ordered: the less is the more lenient.
enum class AccessMode : std::uint8_t {
  off,     // the port is nobody's concern
  audit,   // strangers get through, and are told of
  enforce  // strangers are refused
};
[[nodiscard]] std::string_view access_mode_name(AccessMode mode);
[[nodiscard]] Result<AccessMode> access_mode_from_name(std::string_view name);

struct Admission {
  std::int64_t port = 0;  // TCP
  std::string service;
  std::string endpoint;
  AccessMode mode = AccessMode::enforce;  // never off: then there is no admission
  std::vector<std::string> sources;       // addresses and networks: canonical, sorted, no overlaps
  friend bool operator==(const Admission&, const Admission&) = default;
};
using Admissions = std::vector<Admission>;  // by port, each port once

inline constexpr std::size_t kMostAdmissions = 4096;    // ports of one host
inline constexpr std::size_t kMostSources = 1U << 20U;  // of one host, all ports together

[[nodiscard]] Json admissions_to_json(const Admissions& admissions);
// What comes in becomes rules of a firewall: sources are parsed and made canonical, order and
// bounds are checked. Errors: invalid_input, too_large.
[[nodiscard]] Result<Admissions> admissions_from_json(const Json& json, const std::string& path);
// What an agent says is in force; none for no admissions at all.
[[nodiscard]] Digest admissions_digest(const Admissions& admissions);

// What the agent says of it.
struct AccessReport {
  bool able = false;    // this host has a firewall that the agent may write
  std::string problem;  // why it cannot, or what is wrong now; "" when all is well
  Digest admitted;      // admissions_digest() of what is in force
  friend bool operator==(const AccessReport&, const AccessReport&) = default;
};
[[nodiscard]] Json access_report_to_json(const AccessReport& report);
[[nodiscard]] Result<AccessReport> access_report_from_json(const Json& json,
                                                           const std::string& path);

}  // namespace consort::plan
